using System.Net.Sockets;
using CriShim.Serving;
using CriShim.TestSupport;

namespace CriShim.Tests.Serving;

public sealed class ListenerProofTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly CancellationTokenSource _timeout = new(Bounds.Failure);

    private string SocketFile => _directory.File("s.sock");

    public void Dispose()
    {
        _timeout.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData("000000040000000000")]
    [InlineData("00000604000000000000030000FFFF")]
    public async Task Run_SettingsAreAnswered_IsProof(string answer)
    {
        byte[] greeting = await ProveAgainst(Convert.FromHexString(answer));

        Assert.StartsWith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0", System.Text.Encoding.Latin1.GetString(greeting), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")] // Closed.
    [InlineData("0000000400")] // Closed amid a frame.
    [InlineData("000006040000000000")] // Closed before the frame's content.
    [InlineData("000000040100000000")] // An acknowledgement is no announcement.
    [InlineData("000000040000000001")] // On a stream: a protocol error.
    [InlineData("000008070000000000")] // GOAWAY.
    [InlineData("485454502F312E3120")] // "HTTP/1.1 "
    [InlineData("FFFFFF040000000000")] // Longer than a frame may be.
    public async Task Run_SomethingElseIsAnswered_IsNoProof(string answer) =>
        await Assert.ThrowsAsync<InvalidDataException>(() => ProveAgainst(Convert.FromHexString(answer)));

    [Fact]
    public async Task Run_NobodyListens_IsNoProof() =>
        await Assert.ThrowsAsync<SocketException>(() => ListenerProof.RunAsync(SocketFile, _timeout.Token));

    [Fact]
    public async Task Run_NobodyAnswers_EndsWithItsToken()
    {
        using Socket listener = Listen();
        using var cancel = new CancellationTokenSource();
        Task proof = ListenerProof.RunAsync(SocketFile, cancel.Token);
        using Socket accepted = await listener.AcceptAsync(_timeout.Token);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => proof.WaitAsync(_timeout.Token));
    }

    private async Task<byte[]> ProveAgainst(byte[] answer)
    {
        using Socket listener = Listen();
        Task proof = ListenerProof.RunAsync(SocketFile, _timeout.Token);
        byte[] greeting = new byte[24 + 9 + 17];
        using (Socket accepted = await listener.AcceptAsync(_timeout.Token))
        {
            await using var stream = new NetworkStream(accepted);
            await stream.ReadExactlyAsync(greeting, _timeout.Token);
            await stream.WriteAsync(answer, _timeout.Token);
        }

        await proof;
        return greeting;
    }

    private Socket Listen()
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(SocketFile));
        listener.Listen();
        return listener;
    }
}
