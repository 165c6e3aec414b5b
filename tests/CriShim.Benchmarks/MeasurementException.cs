namespace CriShim.Benchmarks;

/// <summary>Something could not be measured, as against: was measured and missed its aim.</summary>
internal sealed class MeasurementException(string message, Exception? cause = null) : Exception(message, cause);
