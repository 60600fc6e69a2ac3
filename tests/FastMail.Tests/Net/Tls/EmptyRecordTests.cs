using System.Net.Sockets;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net.Tls;

/// <summary>Records that carry nothing for the handler.</summary>
public sealed class EmptyRecordTests
{
    private const int KeyUpdateCount = 4000; // 27 octets each: three times a turn's share, and the sockets hold them

    [Fact]
    public void A_stream_of_KeyUpdates_does_not_keep_the_loop_from_others()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using (KeyUpdates client = new(TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint)))
        {
            Assert.Equal("hello", client.ReadLine());
            client.Encrypt("first\r\n");
            for (int i = 0; i < KeyUpdateCount; i++)
            {
                client.EncryptKeyUpdate();
            }

            client.Encrypt("last\r\n");
            using Bystander bystander = new(fixture);
            client.Send();
            Assert.True(bystander.SawBetween(), "nobody had a turn between the line before the records and the one behind");
            Assert.Equal("first", client.ReadLine());
            Assert.Equal("last", client.ReadLine());
        }

        fixture.AssertAllIsReturned();
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void A_client_of_nothing_but_KeyUpdates_is_closed_at_its_deadline()
    {
        StandingClock clock = new();
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Deadline = TimeSpan.FromSeconds(60) };
        using LoopFixture fixture = new(handlers, clock, tls: new ListenerTls(server, IsImplicit: true));
        using (KeyUpdates client = new(TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint)))
        {
            Assert.Equal("hello", client.ReadLine());
            for (int i = 0; i < 10; i++)
            {
                for (int n = 0; n < KeyUpdateCount; n++)
                {
                    client.EncryptKeyUpdate();
                }

                client.Send();
                clock.Advance(TimeSpan.FromSeconds(5));
            }

            clock.Advance(TimeSpan.FromSeconds(15));
            Assert.Equal("last words: Timeout", client.ReadLine());
        }

        fixture.AssertAllIsReturned();
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void A_client_that_vanishes_behind_its_KeyUpdates_leaves_nothing_behind()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        for (int i = 0; i < 5; i++)
        {
            using NetworkStream transport = TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint);
            using KeyUpdates client = new(transport);
            Assert.Equal("hello", client.ReadLine());
            for (int n = 0; n < KeyUpdateCount; n++)
            {
                client.EncryptKeyUpdate();
            }

            client.Send();
            transport.Socket.LingerState = new LingerOption(enable: true, 0);
        }

        fixture.AssertAllIsReturned();
        Assert.Empty(fixture.Failures);
    }

    /// <summary>
    /// Has a turn on the loop whenever it comes round, and looks how many lines were heard. Holds the loop until it is asked,
    /// so that all the records are there when the loop goes on.
    /// </summary>
    private sealed class Bystander : ILoopWork, IDisposable
    {
        private readonly LoopFixture _fixture;
        private readonly int _before;
        private readonly ManualResetEventSlim _isSent = new();
        private readonly ManualResetEventSlim _isOver = new();
        private bool _sawBetween;

        public Bystander(LoopFixture fixture)
        {
            _fixture = fixture;
            _before = fixture.OnLoop(() => fixture.Handlers.Calls);
            fixture.Loop.Post(this);
        }

        /// <summary>It had a turn when the first line was heard and the second was not; returns when both are.</summary>
        public bool SawBetween()
        {
            _isSent.Set();
            Assert.True(_isOver.Wait(LoopFixture.Patience), "the lines were not heard");
            return _sawBetween;
        }

        public void Run()
        {
            _isSent.Wait();
            int heard = _fixture.Handlers.Calls - _before;
            _sawBetween |= heard == 1;
            if (heard == 2)
            {
                _isOver.Set();
            }
            else
            {
                _fixture.Loop.Post(this);
            }
        }

        public void Dispose()
        {
            _isSent.Set(); // whatever the test has found out
            _isSent.Dispose();
            _isOver.Dispose();
        }
    }
}
