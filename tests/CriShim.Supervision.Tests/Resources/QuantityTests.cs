using CriShim.TestSupport.Proofs;
using CsCheck;

namespace CriShim.Supervision.Tests.Resources;

public sealed class QuantityTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("10Mi", 10_485_760)]
    [InlineData("1.5Gi", 1_610_612_736)]
    [InlineData("128974848", 128_974_848)]
    [InlineData("129e6", 129_000_000)]
    [InlineData("129M", 129_000_000)]
    [InlineData("128974848000m", 128_974_848)]
    [InlineData("1m", 1)]
    [InlineData("+1k", 1000)]
    [InlineData("1E", 1_000_000_000_000_000_000)]
    [InlineData("8Ei", long.MaxValue)]
    [InlineData("9999999999999999999999999Ei", long.MaxValue)]
    public void TryParse_KubernetesNotation_GivesUnitsRoundedUp(string text, long units)
    {
        Assert.True(Quantity.TryParse(text, out long parsed));
        Assert.Equal(units, parsed);
    }

    [Theory]
    [InlineData("250m", 250)]
    [InlineData("2", 2000)]
    [InlineData("0.1", 100)]
    [InlineData("1n", 1)]
    [InlineData("1e-3", 1)]
    public void TryParseMillis_KubernetesNotation_GivesThousandths(string text, long millis)
    {
        Assert.True(Quantity.TryParseMillis(text, out long parsed));
        Assert.Equal(millis, parsed);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-1")]
    [InlineData("Mi")]
    [InlineData("10mi")]
    [InlineData("1.2.3")]
    [InlineData("1 Mi")]
    [InlineData("1e99")]
    [InlineData("++1")]
    [InlineData("99999999999999999999999999999999")]
    public void TryParse_AnythingElse_IsRefused(string text) => Assert.False(Quantity.TryParse(text, out _));

    [Fact]
    public void TryParse_AnyText_NeverThrows() =>
        Gen.String["0123456789.eE+-mkMGTPinuKi "].CheckFixed(
            text =>
            {
                Assert.True(!Quantity.TryParse(text, out long units) || units >= 0);
                Assert.True(!Quantity.TryParseMillis(text, out long millis) || millis >= 0);
            },
            20_000);
}
