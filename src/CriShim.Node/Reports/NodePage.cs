using CriShim.Protocol.Admin.V1;

namespace CriShim.Node.Reports;

/// <summary>A node's pods for a page: as many as asked for.</summary>
/// <param name="Pods">Those with sidecars that are down first, then those that end, then the others; by namespace and name.</param>
/// <param name="All">How many pod sandboxes there are.</param>
/// <param name="Sidecars">Sidecars of those that are ready.</param>
/// <param name="Down">How many of these are dead, and not because their pods end.</param>
public sealed record NodePage(IReadOnlyList<PodPage> Pods, int All, int Sidecars, int Down);

/// <summary>One of them.</summary>
/// <param name="Pod">As it is now, without figures.</param>
/// <param name="Down">Names of its sidecars that are down.</param>
/// <param name="Timeline">Its life.</param>
/// <param name="Trail">What happened to it last, oldest first.</param>
public sealed record PodPage(Pod Pod, IReadOnlySet<string> Down, GetTimelineResponse Timeline, IReadOnlyList<Event> Trail);
