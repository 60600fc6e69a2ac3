using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace FastMail.Server.Accounts;

/// <summary>
/// Keeps the files beside a database in WAL mode when its last connection closes: on a disk that is full by then they
/// could not be made again, and nobody could open it. Stateless; the thread of the connection.
/// </summary>
internal static partial class KeptWal
{
    private const int PersistWal = 10; // SQLITE_FCNTL_PERSIST_WAL

    /// <summary>Throws <see cref="SqliteException"/>.</summary>
    public static void Keep(SqliteConnection connection)
    {
        using SqliteCommand command = connection.CreateCommand();
        // Left empty: what a kept log still held would be taken for changes of an older database put in this place.
        command.CommandText = "PRAGMA journal_size_limit=0";
        command.ExecuteNonQuery();
        int isKept = 1;
        SqliteException.ThrowExceptionForRC(
            FileControl(connection.Handle!, database: 0, PersistWal, ref isKept), connection.Handle!);
    }

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_file_control")]
    private static partial int FileControl(sqlite3 connection, nint database, int operation, ref int value);
}
