namespace CriShim.Benchmarks.Routes;

internal sealed class NginxLaunch() : ProxyLaunch(RouteName.Nginx)
{
    // Debian has nginx in a directory that only root searches.
    private static readonly string Program = File.Exists("/usr/sbin/nginx") ? "/usr/sbin/nginx" : "nginx";

    public static async Task<string> VersionAsync(CancellationToken cancellation) =>
        (await ToolOutput.ReadAsync(Program, ["-v"], cancellation)).Replace("nginx version: ", "", StringComparison.Ordinal).Trim();

    /// <summary>
    /// A worker for one core, as crishim has one loop. Limits on requests and time are lifted; buffers and frames hold 16 KiB, which
    /// made nginx's lists twice as fast as its defaults did and left its Version calls as they were.
    /// </summary>
    protected override StartedProcess Start(Workspace workspace, string socketPath, string backendSocketPath)
    {
        var prefix = Directory.CreateDirectory(workspace.NewPath("nginx")).FullName;
        var configuration = Path.Combine(prefix, "nginx.conf");

        // Only root may name a user; started by anyone else, the worker is theirs.
        var user = Environment.IsPrivilegedProcess ? "user root;" : "";
        File.WriteAllText(configuration, $$"""
            daemon off;
            {{user}}
            worker_processes 1;
            pid {{prefix}}/nginx.pid;
            error_log stderr error;
            events { worker_connections 4096; }
            http {
                access_log off;
                client_max_body_size 0;
                client_body_temp_path {{prefix}}/body;
                proxy_temp_path {{prefix}}/proxy;
                fastcgi_temp_path {{prefix}}/fastcgi;
                uwsgi_temp_path {{prefix}}/uwsgi;
                scgi_temp_path {{prefix}}/scgi;
                keepalive_requests 1000000000;
                keepalive_timeout 1h;
                http2_max_concurrent_streams 1024;
                http2_chunk_size 16k;
                upstream backend {
                    server unix:{{backendSocketPath}};
                    keepalive 128;
                    keepalive_requests 1000000000;
                    keepalive_timeout 1h;
                }
                server {
                    listen unix:{{socketPath}} http2;
                    location / {
                        grpc_pass grpc://backend;
                        grpc_buffer_size 16k;
                        grpc_read_timeout 1h;
                        grpc_send_timeout 1h;
                    }
                }
            }
            """);
        return workspace.Start(Program, "-p", prefix, "-c", configuration, "-e", "stderr");
    }
}
