using System.Text.Json.Serialization;
using CriShim.Node.Draining;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.State;

/// <summary>How records look in their files.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(PodRecord))]
[JsonSerializable(typeof(LineageRecord))]
[JsonSerializable(typeof(PodFacts))]
[JsonSerializable(typeof(DrainRecord))]
internal sealed partial class StateJson : JsonSerializerContext;
