using System.Globalization;

namespace CriShim.Discovery.Tests.Support;

/// <summary>Pods as the API gives them, small ones and one with everything that matters.</summary>
internal static class PodJson
{
    public static string Small(string name, string uid, long version = 1, string more = "", string phase = "Running") => string.Create(
        CultureInfo.InvariantCulture,
        $$$$"""
        {"metadata":{"name":"{{{{name}}}}","namespace":"shop","uid":"{{{{uid}}}}","resourceVersion":"{{{{version}}}}"{{{{more}}}}},
         "spec":{"containers":[{"name":"main","image":"registry.test/main:1"}],"nodeName":"node-a"},"status":{"phase":"{{{{phase}}}}"}}
        """);

    /// <summary>As written by an API server newer than any: fields in an order of its own, unknown ones everywhere.</summary>
    public const string Full = """
        {
          "kind": "Pod", "apiVersion": "v1", "somethingNew": {"a": [1, {"b": null}]},
          "status": {"phase": "Running", "containerStatuses": [{"name": "status-name", "restartPolicy": "Never"}]},
          "spec": {
            "somethingNew": true,
            "terminationGracePeriodSeconds": 45,
            "ephemeralContainers": [{"name": "debugger", "targetContainerName": "web"}],
            "containers": [
              {"name": "web", "lifecycle": {"preStop": {"exec": {"command": ["true"]}}, "postStart": {"exec": {"command": ["true"]}}}},
              {"name": "worker", "restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]},
              {"name": "plain", "lifecycle": {"postStart": null}, "restartPolicyRules": [], "restartPolicy": null}
            ],
            "initContainers": [
              {"name": "migrate", "env": [{"name": "restartPolicy", "value": "Always"}]},
              {"env": [{"name": "PASSWORD", "value": "hunter2"}], "restartPolicy": "Always", "name": "proxy"},
              {"name": "retry", "restartPolicy": "OnFailure"}
            ],
            "restartPolicy": "OnFailure"
          },
          "metadata": {
            "annotations": {
              "crishim.io/sidecars": "proxy", "crishim\u002eio/supervise": "off", "crishim.io": "not ours", "other.io/secret": "hunter2"
            },
            "labels": {"crishim.io/label": "no annotation"},
            "managedFields": [{"fieldsV1": {"f:metadata": {"f:uid": {}}}}],
            "name": "web-0", "namespace": "shop", "uid": "11111111-2222-3333-4444-555555555555", "resourceVersion": "1234",
            "deletionTimestamp": null
          }
        }
        """;
}
