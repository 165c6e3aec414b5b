using System.Net.Sockets;

namespace CriShim.TestSupport.Lab;

/// <summary>
/// A number that nobody else in this network namespace holds, and the names made of it: directory, bridge, subnet, cgroup.
/// Several labs run side by side, of one test run or of several checkouts.
/// </summary>
/// <remarks>
/// The holder is whoever has bound an abstract socket of the number's name: the kernel gives it up with the process, however
/// that ends, so a slot whose things are there but whose socket is free is a left-over, and there is no lock file to leave behind.
/// </remarks>
public sealed class LabSlot : IDisposable
{
    private const int Slots = 64;
    private readonly Socket _held;

    private LabSlot(int number, Socket held)
    {
        Number = number;
        _held = held;
    }

    /// <summary>0 to 63.</summary>
    public int Number { get; }

    /// <summary>All files of the lab. Short: socket paths of 107 bytes have to fit below it.</summary>
    public string Directory => $"/tmp/crishim-lab-{Number}";

    /// <summary>Also the CNI network's name.</summary>
    public string Bridge => $"crishim{Number}";

    public string Subnet => $"10.213.{Number}.0/24";

    /// <summary>Parent cgroup of all pods, from the root of each hierarchy.</summary>
    public string Cgroup => $"/crishim-lab-{Number}";

    /// <summary>Takes a free slot and sweeps what crashed runs have left in any of them.</summary>
    public static async Task<LabSlot> TakeAsync()
    {
        LabSlot? taken = null;
        for (var number = 0; number < Slots; number++)
        {
            var there = System.IO.Directory.Exists($"/tmp/crishim-lab-{number}");
            if (taken is not null && !there)
            {
                continue;
            }

            if (TryHold(number) is not { } slot)
            {
                continue;
            }

            if (there)
            {
                await Leftovers.SweepAsync(slot).ConfigureAwait(false);
            }

            if (taken is null)
            {
                taken = slot;
            }
            else
            {
                slot.Dispose();
            }
        }

        return taken ?? throw new LabException($"All {Slots} lab slots are taken.");
    }

    private static LabSlot? TryHold(int number)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint($"\0crishim-lab-{number}"));
            return new LabSlot(number, socket);
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    /// <summary>Gives the slot up. Sweep first.</summary>
    public void Dispose() => _held.Dispose();
}
