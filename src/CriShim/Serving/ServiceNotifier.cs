using System.Globalization;
using System.Net.Sockets;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace CriShim.Serving;

/// <summary>Tells systemd how we are (sd_notify(3)); does nothing where NOTIFY_SOCKET is not set.</summary>
internal sealed class ServiceNotifier(ILogger log)
{
    private readonly SystemdNotifier _notifier = new();

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    public void Alive() => Send("WATCHDOG=1");

    /// <param name="atMost">How long the stop may take; it may be more than the unit's TimeoutStopSec=.</param>
    public void Stopping(TimeSpan atMost) => Send(string.Create(
        CultureInfo.InvariantCulture, $"STOPPING=1\nSTATUS=Waiting for running calls\nEXTEND_TIMEOUT_USEC={(long)atMost.TotalMicroseconds}"));

    private void Send(string state)
    {
        try
        {
            _notifier.Notify(new ServiceState(state));
        }
        catch (SocketException e)
        {
            // Serving goes on: systemd will do what its unit says about a service that is silent.
            log.NotifyFailed(state.Split('\n')[0], e);
        }
    }
}
