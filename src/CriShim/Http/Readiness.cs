using CriShim.Node;
using CriShim.Supervision;

namespace CriShim.Http;

/// <param name="Name">What was looked at.</param>
/// <param name="Fault">What is wrong with it; null: nothing.</param>
internal sealed record HealthCheck(string Name, string? Fault);

/// <summary>Whether this crishim lives, and whether calls go through it as they should.</summary>
/// <param name="relistInterval">How often the backend is listed.</param>
/// <param name="health">How supervision stands.</param>
/// <param name="loopProof">Completes when the forwarding loop has run a turn.</param>
/// <param name="listenerProof">Completes when the listening socket has answered a caller.</param>
/// <param name="time">The clock.</param>
internal sealed class Readiness(
    TimeSpan relistInterval, Func<NodeHealth> health, Func<CancellationToken, Task> loopProof, Func<CancellationToken, Task> listenerProof,
    TimeProvider time)
{
    private static readonly TimeSpan ProofLimit = TimeSpan.FromSeconds(2);

    /// <summary>A list may be late, and one may fail, before the backend counts as away.</summary>
    private readonly TimeSpan _recently = relistInterval * 3;

    /// <summary>Alive: a restart would mend it if it is not.</summary>
    public async Task<IReadOnlyList<HealthCheck>> LiveAsync(CancellationToken cancellationToken) =>
        [await ProveAsync("loop", loopProof, cancellationToken)];

    /// <summary>Ready: callers get from containerd what they ask for, and supervision does its work.</summary>
    public async Task<IReadOnlyList<HealthCheck>> ReadyAsync(CancellationToken cancellationToken)
    {
        NodeHealth now = health();
        string? backend = now.ListedAt is not { } at ? "containerd was not reached yet"
            : time.GetUtcNow() - at is var since && since > _recently ? $"containerd was last reached {(long)since.TotalSeconds} s ago"
            : null;
        return
        [
            await ProveAsync("listener", listenerProof, cancellationToken),
            new HealthCheck("backend", backend),
            new HealthCheck("supervision", now.IsKnown ? null : "the node is not known yet: containerd was not listed since the start"),
        ];
    }

    private async Task<HealthCheck> ProveAsync(string name, Func<CancellationToken, Task> proof, CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(ProofLimit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            await proof(either.Token).WaitAsync(either.Token);
            return new HealthCheck(name, null);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new HealthCheck(name, $"no answer within {GoDuration.Format(ProofLimit)}");
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            return new HealthCheck(name, e.Message.ReplaceLineEndings(" "));
        }
    }
}
