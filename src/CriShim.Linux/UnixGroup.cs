using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Tmds.Linux;

namespace CriShim.Linux;

/// <summary>Looks groups up in the system's databases (nsswitch.conf(5)).</summary>
public static partial class UnixGroup
{
    /// <summary>(gid_t)-1 means "leave it" to chown(2), so it is no group's id.</summary>
    private const uint NoGroup = uint.MaxValue;

    /// <summary>The effective group id of this process, which files get that it makes.</summary>
    public static uint Current => LibC.getegid();

    /// <summary>The id of a group given by name, or by number, which need not be in any database.</summary>
    /// <returns>Null when there is no such group.</returns>
    public static uint? Find(string nameOrId)
    {
        if (nameOrId.Length == 0 || nameOrId.Contains('\0', StringComparison.Ordinal))
        {
            return null;
        }

        // A group may be named by digits alone on some systems; chown(1) too tries the name first.
        return FindByName(nameOrId)
            ?? (uint.TryParse(nameOrId, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) && id != NoGroup ? id : null);
    }

    private static unsafe uint? FindByName(string name)
    {
        byte[] text = Encoding.UTF8.GetBytes(name + '\0');
        // Members of the group are written to the buffer as well, so that no size is enough for all.
        for (int size = 4096; size <= 16 * 1024 * 1024; size *= 4)
        {
            byte[] buffer = new byte[size];
            fixed (byte* n = text, b = buffer)
            {
                Group entry;
                Group* found = null;
                int error = GetGroupByName(n, &entry, b, (nuint)size, &found);
                if (found is not null)
                {
                    return entry.Id;
                }

                if (error != LibC.ERANGE)
                {
                    return null;
                }
            }
        }

        return null;
    }

    // Tmds.LibC has no group database.
    [LibraryImport("libc", EntryPoint = "getgrnam_r")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static unsafe partial int GetGroupByName(byte* name, Group* entry, byte* buffer, nuint size, Group** result);

    [StructLayout(LayoutKind.Sequential)]
    private unsafe struct Group
    {
        public byte* Name;
        public byte* Password;
        public uint Id;
        public byte** Members;
    }
}
