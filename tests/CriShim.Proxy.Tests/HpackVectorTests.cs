using System.Text;
using CriShim.TestSupport.Proofs;
using CriShim.TestSupport.RawHttp2;
using CsCheck;

namespace CriShim.Proxy.Tests;

/// <summary>The judge is judged first: RFC 7541 appendix C, and random blocks through encoder and decoder.</summary>
public sealed class HpackVectorTests
{
    [Fact]
    public void Decode_RequestsOfAppendixC3_GivesTheFields()
    {
        var decoder = new HpackDecoder();
        Assert.Equal(
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
            decoder.Decode(Convert.FromHexString("828684410f7777772e6578616d706c652e636f6d")));
        Assert.Equal(
            [
                (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"),
                ("cache-control", "no-cache"),
            ],
            decoder.Decode(Convert.FromHexString("828684be58086e6f2d6361636865")));
        Assert.Equal(
            [
                (":method", "GET"), (":scheme", "https"), (":path", "/index.html"), (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ],
            decoder.Decode(Convert.FromHexString("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")));
        Assert.Equal(3, decoder.TableEntries);
    }

    [Fact]
    public void Decode_HuffmanResponsesOfAppendixC6_GivesTheFieldsAndEvicts()
    {
        var decoder = new HpackDecoder { AllowedTableSize = 256 };
        decoder.Decode([0x3f, 0xe1, 0x01]);
        Assert.Equal(
            [
                (":status", "302"), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                ("location", "https://www.example.com"),
            ],
            decoder.Decode(Convert.FromHexString(
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3")));
        Assert.Equal(":status: 307", decoder.Decode(Convert.FromHexString("4883640effc1c0bf"))[0].ToString());
        IReadOnlyList<HeaderField> third = decoder.Decode(Convert.FromHexString(
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f36" +
            "72c1ab270fb5291f9587316065c003ed4ee5b1063d5007"));
        Assert.Equal("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1", third.ValueOf("set-cookie"));
        Assert.Equal(3, decoder.TableEntries);
    }

    [Fact]
    public void EncodeThenDecode_AnyFieldsInAnyForm_GivesThemBack() =>
        Gen.Select(
                Gen.Select(Gen.Byte.Array[0, 40], Gen.Byte.Array[0, 300], Gen.Bool).Array[0, 20].Array[1, 6],
                Gen.Bool,
                Gen.Bool,
                Gen.Int[0, 4096])
            .CheckFixed(input =>
            {
                (var blocks, bool compress, bool huffman, int capacity) = input;
                var encoder = new HpackEncoder { Compress = compress, Huffman = huffman };
                var decoder = new HpackDecoder();
                encoder.Resize(capacity);
                foreach ((byte[] Name, byte[] Value, bool Never)[] block in blocks)
                {
                    HeaderField[] fields =
                    [
                        .. block.Select(field => new HeaderField(
                            Encoding.Latin1.GetString(field.Name), Encoding.Latin1.GetString(field.Value), field.Never)),
                    ];
                    Assert.Equal(fields, decoder.Decode(encoder.Encode(fields)));
                }
            });

    [Theory]
    [InlineData("80", "index 0")]
    [InlineData("be", "beyond both tables")]
    [InlineData("7fffffffffff7f", "an integer too large")]
    [InlineData("3fe2ff03", "a table size not allowed")]
    [InlineData("000161", "no value")]
    [InlineData("00016105aabb", "a string beyond its block")]
    [InlineData("00016184ffffffff", "the end-of-string symbol")]
    [InlineData("0001618118", "padding of zeros")]
    public void Decode_BrokenBlock_Throws(string hex, string why)
    {
        Assert.NotEmpty(why);
        Assert.Throws<HpackException>(() => new HpackDecoder().Decode(Convert.FromHexString(hex)));
    }
}
