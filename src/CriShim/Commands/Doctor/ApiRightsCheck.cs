using CriShim.Discovery.ApiServer;

namespace CriShim.Commands.Doctor;

/// <summary>Whether the kubelet's kubeconfig can be used, and for what.</summary>
internal sealed class ApiRightsCheck : ICheck
{
    private const string Remedy = "see whether the kubelet itself reaches its API server: journalctl -u kubelet";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    public string Area => "kubeconfig";

    public async Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        if (diagnosis.Configuration.Discovery.Kubeconfig is not { } path)
        {
            if (!diagnosis.Configuration.Discovery.HasSource)
            {
                diagnosis.Note(
                    Area, "no pod spec source: sidecars are only known by annotations",
                    "discovery.kubeconfig in the configuration: the kubelet's own kubeconfig");
            }
            else
            {
                diagnosis.Note(Area, "none is used: pod specs come from other sources, and no Events are written");
            }

            return;
        }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Patience);
        try
        {
            (IReadOnlyList<ApiRight> rights, string? fault) = await AccessReview.RunAsync(path, limit.Token);
            if (fault is not null)
            {
                diagnosis.Warn(Area, $"{path} can't be used: {fault}", Remedy);
                return;
            }

            bool mayAll = true;
            foreach (ApiRight right in rights)
            {
                if (!right.IsAllowed)
                {
                    mayAll = false;
                    diagnosis.Warn(
                        Area, $"{path} may not {right.Verb} {right.Resource}: "
                        + (right.Resource == "pods" ? "sidecars are not known by their specs"
                            : right.Verb == "patch" ? "Events that happen again are not counted" : "pods' Events do not tell of restarts"),
                        "use the kubelet's own kubeconfig, or give its user that right (clusterrole system:node has it)");
                }
            }

            if (mayAll)
            {
                diagnosis.Good(Area, $"{path} may list and watch pods, and create and patch events");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            diagnosis.Warn(
                Area, $"the API server of {path} did not answer within {Patience.TotalSeconds:0} s; what was known of pods stays known",
                Remedy);
        }
    }
}
