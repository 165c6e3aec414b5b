using CriShim.Commands.Drain;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Tests.Commands;

public sealed class DrainTextTests
{
    /// <summary>Nothing of a pod author's text moves the cursor, or turns the line round.</summary>
    [Fact]
    public void NameOf_APodWithAHostileName_IsShownAsText() =>
        Assert.Equal("a?b/c?[2J", DrainText.NameOf(new DrainedPod { Namespace = "a\u202eb", Name = "c\u001b[2J" }));
}
