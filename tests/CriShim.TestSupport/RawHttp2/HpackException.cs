namespace CriShim.TestSupport.RawHttp2;

/// <summary>A header block that breaks RFC 7541.</summary>
public sealed class HpackException(string message) : Exception(message);
