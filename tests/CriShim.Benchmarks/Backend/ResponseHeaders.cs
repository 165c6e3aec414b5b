namespace CriShim.Benchmarks.Backend;

/// <summary>
/// The two header blocks of an answer, encoded as gRPC-Go's encoder does: names and values go into the dynamic table with the
/// first answer of a connection and are one byte each from then on. A peer that announces no table gets literals.
/// </summary>
internal sealed class ResponseHeaders
{
    private static readonly byte[] OkStatus = [0x88];
    private static readonly byte[] ContentType = [0x10, .. "application/grpc"u8];
    private static readonly byte[] GrpcStatus = [0x0b, .. "grpc-status"u8];
    private static readonly byte[] GrpcMessage = [0x0c, .. "grpc-message"u8, 0x00];

    private static readonly byte[] LiteralHead = [.. OkStatus, 0x0f, 0x10, .. ContentType];
    private static readonly byte[] LiteralTrailers = [0x00, .. GrpcStatus, 0x01, (byte)'0', 0x00, .. GrpcMessage];
    private static readonly byte[] LiteralUnimplemented =
        [.. LiteralHead, 0x00, .. GrpcStatus, 0x02, (byte)'1', (byte)'2', 0x00, .. GrpcMessage];

    private static readonly byte[] LearnedHead = [.. OkStatus, 0x5f, .. ContentType];
    private static readonly byte[] LearnedTrailers = [0x40, .. GrpcStatus, 0x01, (byte)'0', 0x40, .. GrpcMessage];

    // The youngest entry of the dynamic table has index 62.
    private static readonly byte[] IndexedHeadAlone = [.. OkStatus, 0x80 | 62];
    private static readonly byte[] IndexedHead = [.. OkStatus, 0x80 | 64];
    private static readonly byte[] IndexedTrailers = [0x80 | 63, 0x80 | 62];

    private const uint TableSizeNeeded = 256;

    private bool _useTable = true;
    private bool _headLearned;
    private bool _trailersLearned;
    private bool _announceEmptyTable;

    public void OnTableSize(uint size)
    {
        if (size >= TableSizeNeeded || !_useTable)
        {
            return;
        }

        _useTable = false;
        _announceEmptyTable = true;
    }

    public ReadOnlySpan<byte> Head()
    {
        if (!_useTable)
        {
            return Literal(LiteralHead);
        }

        if (_headLearned)
        {
            return _trailersLearned ? IndexedHead : IndexedHeadAlone;
        }

        _headLearned = true;
        return LearnedHead;
    }

    public ReadOnlySpan<byte> Trailers()
    {
        if (!_useTable)
        {
            return Literal(LiteralTrailers);
        }

        if (_trailersLearned)
        {
            return IndexedTrailers;
        }

        _trailersLearned = true;
        return LearnedTrailers;
    }

    /// <summary>Head and trailers in one block, as gRPC has it for calls that fail at once.</summary>
    public ReadOnlySpan<byte> Unimplemented() => _useTable ? LiteralUnimplemented : Literal(LiteralUnimplemented);

    private ReadOnlySpan<byte> Literal(byte[] block)
    {
        // RFC 9113 4.3.1: a smaller table is acknowledged at the start of the next block.
        if (!_announceEmptyTable)
        {
            return block;
        }

        _announceEmptyTable = false;
        return (byte[])[0x20, .. block];
    }
}
