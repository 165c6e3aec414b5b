using System.Reflection;
using Xunit.Sdk;

namespace CriShim.Proxy.Tests;

/// <summary>Where a caller connects: at the backend itself, which proves the test right, or at the proxy, which it judges.</summary>
public enum Route
{
    Bare,
    Proxy,

    /// <summary>The proxy with debug messages wanted: then it looks into every method that it has a typed handler for.</summary>
    Looking,

    /// <summary>The proxy while supervision may show something otherwise, but does not: all that could show it is parsed, and stays.</summary>
    Rewriting,
}

/// <summary>Runs a theory on each route.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class EveryRouteAttribute : DataAttribute
{
    public override IEnumerable<object[]> GetData(MethodInfo testMethod) =>
        [[Route.Bare], [Route.Proxy], [Route.Looking], [Route.Rewriting]];
}
