using System.Text.Json;
using CriShim.Discovery.ApiServer;
using CriShim.Discovery.Tests.Support;
using Microsoft.AspNetCore.Http;

namespace CriShim.Discovery.Tests;

public sealed class AccessReviewTests : IAsyncLifetime
{
    private readonly ScratchDirectory _scratch = new();
    private readonly List<JsonElement> _asked = [];
    private FakeApiServer _server = null!;

    public async Task InitializeAsync()
    {
        _server = await FakeApiServer.StartAsync();
        _server.Instead = AnswerAsync;
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        _scratch.Dispose();
    }

    [Fact]
    public async Task Run_TokenThatMayOnlyReadPods_SaysSo()
    {
        _server.AcceptedTokens["hunter2"] = true;

        (IReadOnlyList<ApiRight> rights, string? fault) = await RunAsync("token: hunter2");

        Assert.Null(fault);
        Assert.Equal(
            [
                new ApiRight("list", "pods", true), new ApiRight("watch", "pods", true), new ApiRight("create", "events", false),
                new ApiRight("patch", "events", false),
            ],
            rights);
        Assert.All(_asked, attributes => Assert.False(attributes.TryGetProperty("fieldSelector", out _)));
    }

    [Fact]
    public async Task Run_CertificateOfANode_AsksForThePodsOfThatNode()
    {
        (string certificate, string key, string thumbprint) = _server.Authority.IssueForUser("system:node:worker-1");
        _server.AcceptedCertificates[thumbprint] = true;

        (_, string? fault) = await RunAsync(
            $"client-certificate: {_scratch.Write("c.pem", certificate)}\nclient-key: {_scratch.Write("k.pem", key)}");

        Assert.Null(fault);
        Assert.Equal(
            ["spec.nodeName=worker-1", "spec.nodeName=worker-1"],
            _asked.Where(attributes => attributes.GetProperty("resource").GetString() == "pods")
                .Select(attributes => attributes.GetProperty("fieldSelector").GetProperty("rawSelector").GetString()));
    }

    [Fact]
    public async Task Run_TokenIsRefused_SaysSo()
    {
        (IReadOnlyList<ApiRight> rights, string? fault) = await RunAsync("token: other");

        Assert.Empty(rights);
        Assert.Equal("the credentials are refused (401)", fault);
    }

    [Fact]
    public async Task Run_NoSuchFile_SaysSo()
    {
        (_, string? fault) = await AccessReview.RunAsync("/nowhere/kubelet.conf", CancellationToken.None);

        Assert.Equal("/nowhere/kubelet.conf does not exist", fault);
    }

    private Task<(IReadOnlyList<ApiRight> Rights, string? Fault)> RunAsync(string user) =>
        AccessReview.RunAsync(_scratch.Write("kubeconfig", _server.Kubeconfig(user)), CancellationToken.None);

    private async Task<bool> AnswerAsync(HttpContext context)
    {
        using JsonDocument review = await JsonDocument.ParseAsync(context.Request.Body);
        JsonElement attributes = review.RootElement.GetProperty("spec").GetProperty("resourceAttributes").Clone();
        _asked.Add(attributes);
        bool isAllowed = attributes.GetProperty("resource").GetString() == "pods";
        context.Response.StatusCode = 201;
        await context.Response.WriteAsync($$$"""{"kind":"SelfSubjectAccessReview","status":{"allowed":{{{(isAllowed ? "true" : "false")}}}}}""");
        return true;
    }
}
