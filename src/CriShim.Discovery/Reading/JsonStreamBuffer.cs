using System.Buffers;

namespace CriShim.Discovery.Reading;

/// <summary>What has arrived of a stream of JSON and is not read yet. It grows to the largest single value and no further.</summary>
/// <param name="stream">Where it comes from; disposed by whoever opened it.</param>
/// <param name="maxValueBytes">The largest value that is waited for in one piece.</param>
internal sealed class JsonStreamBuffer(Stream stream, int maxValueBytes) : IDisposable
{
    private const int InitialSize = 16 * 1024;

    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(InitialSize);
    private int _start;
    private int _end;

    /// <summary>The other side has ended the stream.</summary>
    public bool IsEnded { get; private set; }

    public ReadOnlySpan<byte> Unread => _bytes.AsSpan(_start, _end - _start);

    public void Advance(int count) => _start += count;

    /// <summary>Waits for more of the stream, or for its end.</summary>
    /// <exception cref="PodSpecException">The value at hand is too large.</exception>
    public async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        if (_start > 0)
        {
            Unread.CopyTo(_bytes);
            _end -= _start;
            _start = 0;
        }

        if (_end == _bytes.Length)
        {
            if (_end >= maxValueBytes)
            {
                throw new PodSpecException($"holds a value of more than {maxValueBytes} bytes");
            }

            byte[] larger = ArrayPool<byte>.Shared.Rent(_bytes.Length * 2);
            Unread.CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = larger;
        }

        int read = await stream.ReadAsync(_bytes.AsMemory(_end), cancellationToken).ConfigureAwait(false);
        IsEnded = read == 0;
        _end += read;
    }

    /// <summary>Gives the bytes back. A read must not be under way.</summary>
    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
        _start = _end = 0;
    }
}
