using System.Text.Json;
using CriShim.Discovery.Access;

namespace CriShim.Discovery.ApiServer;

/// <summary>Something that crishim does at the API server, and whether it may.</summary>
/// <param name="Verb">Such as "list".</param>
/// <param name="Resource">Such as "pods".</param>
/// <param name="IsAllowed">What the API server says.</param>
public sealed record ApiRight(string Verb, string Resource, bool IsAllowed);

/// <summary>Asks the API server what the user of a kubeconfig may do (authorization.k8s.io/v1 SelfSubjectAccessReview).</summary>
public static class AccessReview
{
    private const string Path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

    /// <returns>The rights, or why they are not known: the kubeconfig can't be used, or the API server did not answer.</returns>
    public static async Task<(IReadOnlyList<ApiRight> Rights, string? Fault)> RunAsync(string kubeconfig, CancellationToken cancellationToken)
    {
        try
        {
            return (await AskAsync(kubeconfig, cancellationToken).ConfigureAwait(false), null);
        }
        catch (SpecSourceException failure)
        {
            return ([], failure.Message);
        }
    }

    private static async Task<IReadOnlyList<ApiRight>> AskAsync(string kubeconfig, CancellationToken cancellationToken)
    {
        ApiAccess access = KubeconfigReader.Read(kubeconfig);
        using ApiConnection connection = ApiConnection.Open(access);
        var rights = new List<ApiRight>();
        foreach ((string verb, string resource) in ((string, string)[])[("list", "pods"), ("watch", "pods"), ("create", "events"), ("patch", "events")])
        {
            byte[] body = Request(verb, resource, resource == "pods" ? access.FindNodeName() : null);
            using HttpResponseMessage response = ApiConnection.Demand(await connection.WriteAsync(
                HttpMethod.Post, Path, "application/json", body, access.BearerToken, cancellationToken).ConfigureAwait(false));
            rights.Add(new ApiRight(verb, resource, await ReadAsync(response, cancellationToken).ConfigureAwait(false)));
        }

        return rights;
    }

    private static byte[] Request(string verb, string resource, string? nodeName)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("apiVersion", "authorization.k8s.io/v1");
            json.WriteString("kind", "SelfSubjectAccessReview");
            json.WriteStartObject("spec");
            json.WriteStartObject("resourceAttributes");
            json.WriteString("verb", verb);
            json.WriteString("resource", resource);
            if (nodeName is not null)
            {
                // From 1.32 on a node may list the pods that are bound to it, and no others; older API servers pass this over.
                json.WriteStartObject("fieldSelector");
                json.WriteString("rawSelector", $"spec.nodeName={nodeName}");
                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    private static async Task<bool> ReadAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            using JsonDocument review = await JsonDocument.ParseAsync(
                await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false), default, cancellationToken).ConfigureAwait(false);
            return review.RootElement.TryGetProperty("status", out JsonElement status)
                && status.TryGetProperty("allowed", out JsonElement allowed) && allowed.ValueKind == JsonValueKind.True;
        }
        catch (Exception broken) when (broken is JsonException or IOException or HttpRequestException)
        {
            throw new SpecSourceException(ApiConnection.FindReason(broken) ?? "its answer is no access review");
        }
    }
}
