using System.Text.Json.Serialization;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Supervisor;

/// <summary>The records go through a serializer in every generated sequence: what does not survive it would not survive a crash.</summary>
[JsonSerializable(typeof(LineageRecord))]
[JsonSerializable(typeof(PodRecord))]
internal sealed partial class RecordJson : JsonSerializerContext;
