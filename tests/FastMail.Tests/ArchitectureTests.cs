using System.Reflection;
using Xunit;

namespace FastMail.Tests;

/// <summary>The walls of src/README.md: who may know whom.</summary>
public sealed class ArchitectureTests
{
    private static readonly string[] Siblings = ["FastMail.Server.Receive", "FastMail.Server.Pop3"];

    [Theory]
    [InlineData("FastMail.Net")]
    [InlineData("FastMail.Protocol")]
    [InlineData("FastMail.Storage")]
    public void A_leaf_references_nothing_but_the_base_library(string leaf)
    {
        Assembly assembly = Assembly.Load(leaf);
        string coreDirectory = Path.GetDirectoryName(typeof(object).Assembly.Location)!;

        foreach (AssemblyName reference in assembly.GetReferencedAssemblies())
        {
            Assert.StartsWith("System.", reference.Name, StringComparison.Ordinal);
            Assert.True(
                File.Exists(Path.Combine(coreDirectory, reference.Name + ".dll")),
                $"{leaf} references {reference.Name}, which is not part of .NET itself");
        }
    }

    [Fact]
    public void Net_and_Storage_have_no_word_of_mail_protocols()
    {
        string[] words = ["Smtp", "Pop3", "Sasl"];
        foreach (string leaf in new[] { "FastMail.Net", "FastMail.Storage" })
        {
            IEnumerable<string> names = Assembly.Load(leaf).GetTypes().Select(t => t.FullName!);
            Assert.DoesNotContain(names, name => words.Any(w => name.Contains(w, StringComparison.Ordinal)));
        }
    }

    [Fact]
    public void Sessions_hold_no_socket_file_clock_or_thread()
    {
        string[] forbidden =
        [
            "System.Net.Sockets", "System.Threading.Thread", "System.Threading.ThreadPool", "System.Collections.Concurrent",
            "System.IO.FileSystem", "System.Threading.Timer",
        ];
        IEnumerable<string> references = Assembly.Load("FastMail.Protocol").GetReferencedAssemblies().Select(r => r.Name!);

        Assert.DoesNotContain(references, r => forbidden.Contains(r, StringComparer.Ordinal));
    }

    [Fact]
    public void Receiving_and_collecting_meet_only_in_the_log()
    {
        Type[] types = Assembly.Load("fastmail").GetTypes();
        foreach (Type type in types.Where(t => Siblings.Contains(t.Namespace, StringComparer.Ordinal)))
        {
            foreach (Type used in UsedBy(type))
            {
                Assert.True(
                    used.Namespace == type.Namespace || !Siblings.Contains(used.Namespace, StringComparer.Ordinal),
                    $"{type} uses {used}");
            }
        }
    }

    [Theory]
    [InlineData("FastMail.Net")]
    [InlineData("FastMail.Protocol")]
    [InlineData("FastMail.Storage")]
    [InlineData("fastmail")]
    public void No_interface_has_a_body_that_could_stand_in_for_wiring_that_was_forgotten(string name)
    {
        const BindingFlags All = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
        IEnumerable<MethodInfo> bodies = Assembly.Load(name).GetTypes()
            .Where(type => type.IsInterface)
            .SelectMany(type => type.GetMethods(All))
            .Where(method => !method.IsAbstract);

        Assert.Empty(bodies.Select(method => $"{method.DeclaringType}.{method.Name}"));
    }

    /// <summary>Types of fields, signatures and local variables.</summary>
    private static IEnumerable<Type> UsedBy(Type type)
    {
        const BindingFlags All = BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public
            | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
        IEnumerable<MethodBase> methods = type.GetMethods(All).Concat<MethodBase>(type.GetConstructors(All));
        return type.GetFields(All).Select(f => f.FieldType)
            .Concat(methods.SelectMany(m => m.GetParameters()).Select(p => p.ParameterType))
            .Concat(type.GetMethods(All).Select(m => m.ReturnType))
            .Concat(methods.SelectMany(m => m.GetMethodBody()?.LocalVariables ?? []).Select(v => v.LocalType))
            .Concat(type.GetInterfaces());
    }
}
