using System.Buffers;

namespace CriShim.Proxy.Http2;

/// <summary>A queue of bytes that holds memory only while it is not empty. The default value is an empty queue.</summary>
internal struct PendingBytes
{
    private byte[]? _bytes;
    private int _start;

    public int Length { get; private set; }

    public readonly ReadOnlySpan<byte> Peek(int length) => _bytes.AsSpan(_start, length);

    public void Append(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        Commit(bytes.Length);
    }

    /// <summary>Room at the end; <see cref="Commit"/> makes what was written there part of the queue.</summary>
    public Span<byte> Reserve(int length)
    {
        if (_bytes is null)
        {
            _bytes = ArrayPool<byte>.Shared.Rent(Math.Max(length, 4096));
            _start = 0;
        }
        else if (_bytes.Length - _start - Length < length)
        {
            if (_bytes.Length - Length >= length && _start >= Length)
            {
                _bytes.AsSpan(_start, Length).CopyTo(_bytes);
            }
            else
            {
                byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(Length + length, Length * 2));
                _bytes.AsSpan(_start, Length).CopyTo(larger);
                ArrayPool<byte>.Shared.Return(_bytes);
                _bytes = larger;
            }

            _start = 0;
        }

        return _bytes.AsSpan(_start + Length, length);
    }

    public void Commit(int length) => Length += length;

    public void Discard(int length)
    {
        _start += length;
        Length -= length;
        if (Length == 0)
        {
            Clear();
        }
    }

    public void Clear()
    {
        if (_bytes is not null)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = null;
        }

        _start = 0;
        Length = 0;
    }
}
