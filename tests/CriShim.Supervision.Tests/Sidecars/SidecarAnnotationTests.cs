using System.Globalization;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Sidecars;
using CriShim.TestSupport.Proofs;
using CsCheck;

namespace CriShim.Supervision.Tests.Sidecars;

public sealed class SidecarAnnotationTests
{
    [Fact]
    public void Parse_CommaList_GivesNames()
    {
        SidecarAnnotation annotation = Parse(" istio-proxy,\tlog-agent ");
        Assert.Empty(annotation.Errors);
        Assert.Equal(["istio-proxy", "log-agent"], annotation.Sidecars.Select(s => s.Name));
        Assert.Null(annotation.Sidecars[0].Kind);
    }

    [Theory]
    [InlineData("[{\"name\":\"proxy\",\"kind\":\"native\",\"restart\":{\"initialDelay\":\"1s\",\"maxDelay\":\"1m\",\"resetAfter\":\"2m\"},\"teardownReserve\":\"5s\",\"successExitCodes\":[0,143],\"startupProbe\":{\"httpGet\":{\"path\":\"/ready\",\"port\":15021},\"periodSeconds\":1}}]")]
    [InlineData("[\t{\"name\":\t\"proxy\", \"kind\":\"native\",\n\t\"restart\":{\"initialDelay\":\"1s\",\"maxDelay\":\"60s\",\"resetAfter\":\"120s\"},\"teardownReserve\":\"5s\",\"successExitCodes\":[0,143],\"startupProbe\":{\"httpGet\":{\"path\":\"/ready\",\"port\":15021},\"periodSeconds\":1}}]")]
    [InlineData("[{name: proxy, kind: native, restart: {initialDelay: 1s, maxDelay: 1m, resetAfter: 2m}, teardownReserve: 5s, successExitCodes: [0, 143], startupProbe: {httpGet: {path: /ready, port: 15021}, periodSeconds: 1}}]")]
    [InlineData("- name: proxy\n  kind: native\n  restart:\n    initialDelay: 1s\n    maxDelay: 1m\n    resetAfter: 2m\n  teardownReserve: 5s\n  successExitCodes:\n  - 0\n  - 143\n  startupProbe:\n    httpGet:\n      path: /ready\n      port: 15021\n    periodSeconds: 1\n")]
    public void Parse_ListOfObjectsInAnyNotation_GivesTheSame(string text)
    {
        SidecarAnnotation annotation = Parse(text);
        Assert.Empty(annotation.Errors);
        SidecarRequest sidecar = Assert.Single(annotation.Sidecars);
        Assert.Equal("proxy", sidecar.Name);
        Assert.Equal(AnnotatedKind.Native, sidecar.Kind);
        Assert.Equal(new RestartRequest(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(2)), sidecar.Restart);
        Assert.Equal(TimeSpan.FromSeconds(5), sidecar.TeardownReserve);
        Assert.Equal<int>([0, 143], sidecar.SuccessExitCodes);
        var http = Assert.IsType<AnnotationMap>(sidecar.StartupProbe!.Entries["httpGet"]);
        Assert.Equal(new AnnotationScalar("15021", false), http.Entries["port"]);
    }

    [Fact]
    public void Parse_BadValues_NamesPlaceValueAndWhatIsAllowedAndKeepsTheRest()
    {
        SidecarAnnotation annotation = Parse("""
            [{"name": "proxy", "kind": "sidecar", "restart": {"initialDelay": "2m", "maxDelay": "1m", "when": "now"}, "colour": "red"},
             {"name": "Bad_Name"}, {"kind": "init"}, null, {"name": "proxy"},
             {"name": "agent", "teardownReserve": "soon", "successExitCodes": [0, 256, "1"],
              "startupProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}, "tcpSocket": {"port": 1}, "periodSeconds": 0}}]
            """);
        Assert.Equal(["proxy", "agent"], annotation.Sidecars.Select(s => s.Name));
        Assert.Equal(TimeSpan.FromMinutes(1), annotation.Find("proxy")!.Restart!.MaxDelay);
        Assert.Null(annotation.Find("proxy")!.Restart!.InitialDelay);
        Assert.Equal<int>([0], annotation.Find("agent")!.SuccessExitCodes);
        Assert.Null(annotation.Find("agent")!.StartupProbe);
        Assert.Equal(
            [
                "crishim.io/sidecars[0].kind: \"sidecar\": must be native, init or plain",
                "crishim.io/sidecars[0].restart.when: is no setting; there are initialDelay, maxDelay, resetAfter",
                "crishim.io/sidecars[0].restart.initialDelay: \"2m0s\": must be at most maxDelay, 1m0s",
                "crishim.io/sidecars[0].colour: is no setting; there are name, kind, restart, teardownReserve, successExitCodes, startupProbe",
                "crishim.io/sidecars[1].name: \"Bad_Name\": must be a container's name: at most 63 of a-z, 0-9 and -, with a letter or digit at both ends",
                "crishim.io/sidecars[2].name: must be a container's name: at most 63 of a-z, 0-9 and -, with a letter or digit at both ends",
                "crishim.io/sidecars[4].name: \"proxy\": must be named once; the first one holds",
                "crishim.io/sidecars[5].teardownReserve: \"soon\": must be a duration such as 10s, 500ms or 1m30s, from 0s to 1h0m0s",
                "crishim.io/sidecars[5].successExitCodes[1]: \"256\": must be an exit code from 0 to 255",
                "crishim.io/sidecars[5].successExitCodes[2]: \"1\": must be an exit code from 0 to 255",
                "crishim.io/sidecars[5].startupProbe: \"httpGet, tcpSocket\": must have exactly one of exec, httpGet, tcpSocket, grpc",
                "crishim.io/sidecars[5].startupProbe.httpGet.host: \"10.0.0.1\": must not be given: probes go to the pod's own IP",
                "crishim.io/sidecars[5].startupProbe.periodSeconds: \"0\": must be a whole number from 1 to 3600",
            ],
            annotation.Errors.Select(e => e.ToString()).Where(e => !e.Contains("[3]", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("a,,b", 2)]
    [InlineData("", 0)]
    [InlineData("a;b", 0)]
    public void Parse_BadNamesInACommaList_KeepsTheOthers(string text, int kept)
    {
        SidecarAnnotation annotation = Parse(text);
        Assert.Equal(kept, annotation.Sidecars.Length);
        _ = Assert.Single(annotation.Errors);
    }

    [Theory]
    [InlineData("{name: proxy}", "must be names with commas between, or a YAML or JSON list")]
    [InlineData("[{name: proxy", "must be valid YAML or JSON (line ")]
    [InlineData("- &a {name: proxy}\n- *a", "must not have anchors, aliases or tags")]
    [InlineData("- !!str proxy", "must not have anchors, aliases or tags")]
    [InlineData("- name: a\n---\n- name: b", "must be one document")]
    [InlineData("[{\"name\":\"a\",\"name\":\"b\"}]", "must give \"name\" once")]
    public void Parse_WhatIsNoList_IsRefusedWhole(string text, string allowed)
    {
        SidecarAnnotation annotation = Parse(text);
        Assert.Empty(annotation.Sidecars);
        Assert.Contains(allowed, Assert.Single(annotation.Errors).Allowed, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_TooLongOrTooDeepOrTooMany_IsBounded()
    {
        Assert.Contains("at most 16384 bytes, and has 20000", Assert.Single(Parse(new string('a', 20_000)).Errors).ToString(), StringComparison.Ordinal);
        Assert.Empty(Parse(new string('[', 16_000)).Sidecars);
        Assert.Empty(Parse(new string('[', 8_000) + new string(']', 8_000)).Sidecars);
        Assert.Contains("deeper than", Assert.Single(Parse("- " + string.Concat(Enumerable.Repeat("{a: ", 20)) + "1" + new string('}', 20)).Errors).Allowed, StringComparison.Ordinal);
        SidecarAnnotation many = Parse(string.Join(',', Enumerable.Range(0, 40).Select(i => $"s{i}")));
        Assert.Equal(SidecarAnnotation.MaxSidecars, many.Sidecars.Length);
        Assert.Equal(8, many.Errors.Length);
    }

    [Fact]
    public void Parse_AnyText_NeverThrowsAndStaysInItsBounds()
    {
        string[] pieces =
        [
            "[", "]", "{", "}", ",", ":", "- ", "\n", " ", "name", "proxy", "\"", "'", "&a", "*a", "!x", "|", ">", "\t", "#", "0", "kind", "\u0000", "é",
            "\\", "\\ud800", "\ud800", "\udc00", "\u202e", "\u2028", "\u0085", "\ufeff", "\r", "? ", "%", "---", "...", "startupProbe", "exec", "command",
            "httpGet", "port", "restart", "initialDelay", "99999999999999999999", "1e999", "-", "1h", "teardownReserve", "successExitCodes", "\u001b[2J",
            "[{\"name\":\"a\",\"", "\":", "}]", new string('a', 300), new string('[', 20), new string('9', 400),
        ];
        Gen.Int[0, pieces.Length - 1].Array[0, 60].Select(p => string.Concat(p.Select(i => pieces[i]))).CheckFixed(Check, 20_000);
        Gen.String[0, 200].CheckFixed(Check, 5_000);

        static void Check(string text)
        {
            SidecarAnnotation annotation = Parse(text);
            Assert.Equal(annotation.Sidecars.Length, annotation.Sidecars.Select(s => s.Name).Distinct().Count());
            Assert.InRange(annotation.Errors.Length, 0, SettingErrors.Most + 1);
            if (SettingErrors.Summary(annotation.Errors) is { } summary)
            {
                Assert.InRange(summary.Length, 1, 1200);
                Assert.DoesNotContain(summary, c => char.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format
                    or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate);
            }
        }
    }

    [Theory]
    [InlineData("[{\"name\":\"\\ud800\"}]")]
    [InlineData("[{\"\\ud800\":\"a\"}]")]
    public void Parse_HalfACharacter_IsRefused(string text)
    {
        SidecarAnnotation annotation = Parse(text);
        Assert.Empty(annotation.Sidecars);
        Assert.Equal("crishim.io/sidecars: must be valid text", Assert.Single(annotation.Errors).ToString());
    }

    [Theory]
    [InlineData("colour", "colour")]
    [InlineData("TOKEN=hunter2", "(a key)")]
    [InlineData("aGVsbG8gd29ybGQ", "aGVsbG8gd29ybGQ", false)]
    public void Parse_KeyThatIsNoSetting_IsRepeatedOnlyIfItCanBeAMisspeltOne(string key, string text, bool isShown = true) =>
        Assert.Equal(isShown, Assert.Single(Parse($$"""[{"name": "proxy", "{{key}}": 1}]""").Errors).Place.Contains(text, StringComparison.Ordinal));

    [Fact]
    public void Parse_TextThatMisleadsReaders_IsShownEscaped()
    {
        string shown = Assert.Single(Parse("a\u202eb\u2028c\u001bd\r").Errors).ToString();
        Assert.StartsWith("crishim.io/sidecars[0]: \"a\\u202eb\\u2028c\\u001bd\": must be a container's name", shown, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_TenThousandFaults_GivesOneBoundedLineAndKeepsWhatIsRight()
    {
        SidecarAnnotation annotation = Parse(new string(',', 10_000) + "proxy");
        Assert.Equal("proxy", Assert.Single(annotation.Sidecars).Name);
        Assert.Equal(SettingErrors.Most + 1, annotation.Errors.Length);
        Assert.Equal("crishim.io/sidecars: has 9984 faults more", annotation.Errors[^1].ToString());
        string summary = SettingErrors.Summary(annotation.Errors)!;
        Assert.InRange(summary.Length, 100, 1100);
        Assert.DoesNotContain('\n', summary);
        Assert.EndsWith(" more", summary, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{name: proxy, token: hunter2}")]
    [InlineData("[{name: proxy, token: hunter2")]
    public void Parse_WhatIsRefusedWhole_DoesNotShowTheText(string text) =>
        Assert.DoesNotContain("hunter2", SettingErrors.Summary(Parse(text).Errors), StringComparison.Ordinal);

    [Theory]
    [InlineData("{httpGet: {path: /}}", "port must be a number from 1 to 65535: only the kubelet knows the names of ports")]
    [InlineData("{tcpSocket: {port: 70000}}", "port must be a number from 1 to 65535: only the kubelet knows the names of ports")]
    [InlineData("{tcpSocket: {port: http}}", "port must be a number from 1 to 65535: only the kubelet knows the names of ports")]
    [InlineData("{exec: {command: []}}", "exec.command must be a list of 1 to 64 texts")]
    [InlineData("{exec: {}}", "exec.command must be a list of 1 to 64 texts")]
    [InlineData("{httpGet: {port: 80, path: x}}", "httpGet.path must be a path that starts with /")]
    public void Parse_ProbeThatCannotBe_IsRefusedAlone(string probe, string allowed)
    {
        SidecarAnnotation annotation = Parse($"[{{name: proxy, teardownReserve: 1s, startupProbe: {probe}}}]");
        SidecarRequest sidecar = Assert.Single(annotation.Sidecars);
        Assert.Null(sidecar.StartupProbe);
        Assert.Equal(TimeSpan.FromSeconds(1), sidecar.TeardownReserve);
        Assert.Equal($"crishim.io/sidecars[0].startupProbe: {allowed}", Assert.Single(annotation.Errors).ToString());
    }

    [Fact]
    public void ErrorsBy_NamesAndKindsThatTheSpecHasNot_AreTold()
    {
        PodFacts facts = new()
        {
            Uid = "u", Namespace = "n", Name = "p",
            Containers =
            [
                new ContainerFacts("setup", ContainerRole.Init), new ContainerFacts("proxy", ContainerRole.RestartableInit),
                new ContainerFacts("app", ContainerRole.Plain), new ContainerFacts("debugger", ContainerRole.Ephemeral),
            ],
        };
        Assert.Equal(
            [
                "crishim.io/sidecars: \"porxy\": must be the name of a container of the pod: setup, proxy, app",
                "crishim.io/sidecars of setup, kind: \"plain\": must be init, or not be given: the pod's spec says so, and holds",
                "crishim.io/sidecars: \"debugger\": must be the name of a container of the pod: setup, proxy, app",
            ],
            Parse("[porxy, {name: setup, kind: plain}, {name: proxy, kind: native}, app, debugger]").ErrorsBy(facts).Select(e => e.ToString()));
    }

    [Theory]
    [InlineData("off", true, 0)]
    [InlineData("Off", false, 1)]
    [InlineData("on", false, 1)]
    public void Parse_Supervise_TakesOffOnly(string text, bool off, int errors)
    {
        SidecarAnnotation annotation = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SuperviseKey] = text });
        Assert.Equal(off, annotation.IsSuperviseOff);
        Assert.Equal(errors, annotation.Errors.Length);
    }

    [Fact]
    public void Parse_RestartPolicy_TakesTheApisWords()
    {
        Assert.Equal(PodRestartPolicy.OnFailure, Policy("OnFailure").RestartPolicy);
        Assert.Null(Policy("never").RestartPolicy);
        Assert.Equal("crishim.io/restart-policy: \"never\": must be Always, OnFailure or Never", Assert.Single(Policy("never").Errors).ToString());

        static SidecarAnnotation Policy(string text) =>
            SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.RestartPolicyKey] = text });
    }

    [Theory]
    [InlineData(ContainerRole.RestartableInit, false, SidecarKind.Native)]
    [InlineData(ContainerRole.RestartableInit, true, SidecarKind.Native)]
    [InlineData(ContainerRole.Init, true, SidecarKind.Emulated)]
    [InlineData(ContainerRole.Init, false, SidecarKind.None)]
    [InlineData(ContainerRole.Plain, true, SidecarKind.Adopted)]
    [InlineData(ContainerRole.Plain, false, SidecarKind.None)]
    [InlineData(ContainerRole.Ephemeral, true, SidecarKind.None)]
    public void Tell_WithTheSpec_GoesByItsRole(ContainerRole role, bool isAnnotated, SidecarKind kind)
    {
        var facts = new PodFacts { Uid = "u", Namespace = "n", Name = "p", Containers = [new ContainerFacts("proxy", role)] };
        SidecarRequest? request = isAnnotated ? new SidecarRequest { Name = "proxy", Kind = AnnotatedKind.Native } : null;
        Assert.Equal(kind, SidecarKinds.Tell("proxy", facts, request, specSourceConfigured: true));
    }

    [Fact]
    public void Tell_WithoutTheSpec_TrustsTheAnnotationOnlyWhereNoSourceIsConfigured()
    {
        var native = new SidecarRequest { Name = "proxy", Kind = AnnotatedKind.Native };
        Assert.Equal(SidecarKind.Native, SidecarKinds.Tell("proxy", null, native, specSourceConfigured: false));
        Assert.Equal(SidecarKind.Unknown, SidecarKinds.Tell("proxy", null, native, specSourceConfigured: true));
        Assert.Equal(SidecarKind.OrderedOnly, SidecarKinds.Tell("proxy", null, native with { Kind = null }, specSourceConfigured: false));
        Assert.Equal(SidecarKind.Unknown, SidecarKinds.Tell("proxy", null, null, specSourceConfigured: true));
        Assert.Equal(SidecarKind.None, SidecarKinds.Tell("proxy", null, null, specSourceConfigured: false));
    }

    private static SidecarAnnotation Parse(string sidecars) =>
        SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = sidecars });
}
