using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.Tests.Support;

/// <summary>
/// Pods of one node behind TLS, with lists, watches, versions that go away, and faults on demand. It also answers <c>/pods</c>, as a kubelet.
/// </summary>
internal sealed class FakeApiServer : IAsyncDisposable
{
    private readonly WebApplication _web;
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, string> _pods = new(StringComparer.Ordinal);
    private readonly List<(long Version, string Frame)> _history = [];
    private readonly List<Channel<string>> _watches = [];
    private readonly X509Certificate2 _serving;
    private long _version = 100;
    private long _oldest = 100;

    private FakeApiServer(WebApplication web, X509Certificate2 serving, TestAuthority authority)
    {
        _web = web;
        _serving = serving;
        Authority = authority;
    }

    public TestAuthority Authority { get; }

    public Uri Address { get; private set; } = null!;

    /// <summary>Path and query of every call that was let in, in order.</summary>
    public ConcurrentQueue<string> Calls { get; } = new();

    public IEnumerable<string> Lists => Calls.Where(c => !c.Contains("watch=true", StringComparison.Ordinal));

    public IEnumerable<string> WatchCalls => Calls.Where(c => c.Contains("watch=true", StringComparison.Ordinal));

    public int Refusals;

    /// <summary>Thumbprints of callers' certificates that are accepted.</summary>
    public ConcurrentDictionary<string, bool> AcceptedCertificates { get; } = new();

    public ConcurrentDictionary<string, bool> AcceptedTokens { get; } = new();

    /// <summary>Answers instead when it returns true.</summary>
    public Func<HttpContext, Task<bool>>? Instead { get; set; }

    public int OpenWatches
    {
        get
        {
            lock (_lock)
            {
                return _watches.Count;
            }
        }
    }

    public static async Task<FakeApiServer> StartAsync(TestAuthority? servingAuthority = null, params string[] names)
    {
        var authority = new TestAuthority();
        X509Certificate2 serving = (servingAuthority ?? authority).IssueServing(names.Length == 0 ? ["127.0.0.1"] : names);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(k => k.Listen(System.Net.IPAddress.Loopback, 0, l => l.UseHttps(h =>
        {
            h.ServerCertificate = serving;
            h.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
            h.ClientCertificateValidation = (_, _, _) => true;
        })));
        WebApplication web = builder.Build();
        var fake = new FakeApiServer(web, serving, authority);
        web.Run(fake.AnswerAsync);
        await web.StartAsync();
        fake.Address = new Uri(web.Urls.Single());
        return fake;
    }

    /// <summary>A kubeconfig for this fake with whatever the user is to have.</summary>
    public string Kubeconfig(string user, string? authorityPem = null) => $"""
        apiVersion: v1
        kind: Config
        current-context: default
        contexts:
        - name: default
          context:
            cluster: the-cluster
            user: the-user
        clusters:
        - name: the-cluster
          cluster:
            server: {Address.GetLeftPart(UriPartial.Authority)}
            certificate-authority-data: {Convert.ToBase64String(Encoding.UTF8.GetBytes(authorityPem ?? Authority.Pem))}
        users:
        - name: the-user
          user:
            {user.ReplaceLineEndings("\n    ")}
        """;

    public void Put(string name, string uid, string more = "", string phase = "Running") =>
        Change(uid, version => PodJson.Small(name, uid, version, more, phase));

    public void PutRaw(string uid, Func<long, string> pod) => Change(uid, pod);

    public void Delete(string uid)
    {
        lock (_lock)
        {
            string pod = _pods[uid];
            _pods.Remove(uid);
            Publish("DELETED", pod, ++_version);
        }
    }

    /// <summary>Pods change without the watches hearing of it, and the versions in between are forgotten.</summary>
    public void PutUnheard(string name, string uid)
    {
        lock (_lock)
        {
            _pods[uid] = PodJson.Small(name, uid, ++_version);
            _oldest = _version;
            _history.Clear();
        }
    }

    public void Forget()
    {
        lock (_lock)
        {
            _version += 10;
            _oldest = _version;
            _history.Clear();
        }
    }

    public void Bookmark()
    {
        lock (_lock)
        {
            _version += 10;
            Send(string.Create(CultureInfo.InvariantCulture,
                $$$$"""{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"{{{{_version}}}}"},"spec":{"containers":null},"status":{}}}""") + "\n");
        }
    }

    public long Version
    {
        get
        {
            lock (_lock)
            {
                return _version;
            }
        }
    }

    /// <summary>Sends text into the open watches as it is.</summary>
    public void SendRaw(string text)
    {
        lock (_lock)
        {
            Send(text);
        }
    }

    /// <summary>Ends the open watches, as at the end of their time, or in the middle.</summary>
    public void EndWatches(Exception? broken = null)
    {
        lock (_lock)
        {
            foreach (Channel<string> watch in _watches)
            {
                watch.Writer.TryComplete(broken);
            }

            _watches.Clear();
        }
    }

    public async ValueTask DisposeAsync()
    {
        EndWatches();
        using (var now = new CancellationTokenSource(TimeSpan.Zero))
        {
            await _web.StopAsync(now.Token);
        }

        await _web.DisposeAsync();
        _serving.Dispose();
        Authority.Dispose();
    }

    private void Change(string uid, Func<long, string> pod)
    {
        lock (_lock)
        {
            string type = _pods.ContainsKey(uid) ? "MODIFIED" : "ADDED";
            _pods[uid] = pod(++_version);
            Publish(type, _pods[uid], _version);
        }
    }

    private void Publish(string type, string pod, long version)
    {
        string frame = $$$$"""{"type":"{{{{type}}}}","object":{{{{pod}}}}}""" + "\n";
        _history.Add((version, frame));
        Send(frame);
    }

    private void Send(string text)
    {
        foreach (Channel<string> watch in _watches)
        {
            watch.Writer.TryWrite(text);
        }
    }

    private async Task AnswerAsync(HttpContext context)
    {
        X509Certificate2? certificate = await context.Connection.GetClientCertificateAsync();
        string? token = context.Request.Headers.Authorization.FirstOrDefault()?["Bearer ".Length..];
        if (!(certificate is not null && AcceptedCertificates.ContainsKey(certificate.Thumbprint)) && !(token is not null && AcceptedTokens.ContainsKey(token)))
        {
            Interlocked.Increment(ref Refusals);
            context.Response.StatusCode = 401;
            return;
        }

        Calls.Enqueue(context.Request.Path + context.Request.QueryString);
        if (Instead is { } instead && await instead(context))
        {
            return;
        }

        if (context.Request.Query["watch"] == "true")
        {
            await WatchAsync(context, long.Parse(context.Request.Query["resourceVersion"]!, CultureInfo.InvariantCulture));
            return;
        }

        string list;
        lock (_lock)
        {
            list = string.Create(CultureInfo.InvariantCulture,
                $$$$"""{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"{{{{_version}}}}"},"items":[{{{{string.Join(',', _pods.Values)}}}}]}""");
        }

        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(list);
    }

    private async Task WatchAsync(HttpContext context, long from)
    {
        var watch = Channel.CreateUnbounded<string>();
        lock (_lock)
        {
            if (from < _oldest)
            {
                watch.Writer.TryWrite("""{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}""");
                watch.Writer.TryComplete();
            }
            else
            {
                foreach ((_, string frame) in _history.Where(h => h.Version > from))
                {
                    watch.Writer.TryWrite(frame);
                }

                _watches.Add(watch);
            }
        }

        try
        {
            await context.Response.StartAsync();
            await context.Response.Body.FlushAsync();
            await foreach (string text in watch.Reader.ReadAllAsync(context.RequestAborted))
            {
                await context.Response.WriteAsync(text, context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
            }
        }
        catch (IOException)
        {
            context.Abort();
        }
        catch (OperationCanceledException)
        {
        }
        finally
        {
            lock (_lock)
            {
                _watches.Remove(watch);
            }
        }
    }
}
