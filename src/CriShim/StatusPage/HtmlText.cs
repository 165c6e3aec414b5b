using System.Globalization;
using System.Net;
using System.Text;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;

namespace CriShim.StatusPage;

/// <summary>Markup in which values can only be text: whatever is interpolated is escaped, in elements and in quoted attributes alike.</summary>
internal sealed class HtmlText
{
    private readonly StringBuilder _text = new(32 * 1024);

    public int Length => _text.Length;

    /// <summary>Markup of this program's own, with values in it.</summary>
    public HtmlText Add(FormattableString markup)
    {
        object?[] values = [.. markup.GetArguments().Select(value => (object?)Escape(Convert.ToString(value, CultureInfo.InvariantCulture) ?? ""))];
        _ = _text.AppendFormat(CultureInfo.InvariantCulture, markup.Format, values);
        return this;
    }

    /// <summary>A style sheet of this program's own, exactly as it is: its digest is in the page's policy.</summary>
    public HtmlText AddStyle(string style)
    {
        _ = _text.Append("<style>").Append(style).Append("</style>");
        return this;
    }

    /// <summary>A timeline's picture, as it is: whoever draws it has escaped the names in it.</summary>
    public HtmlText AddPicture(GetTimelineResponse timeline)
    {
        _ = _text.Append(TimelineSvg.Draw(timeline));
        return this;
    }

    public override string ToString() => _text.ToString();

    /// <summary>Names come from pod authors: neither markup, nor characters that turn a line round or end it.</summary>
    internal static string Escape(string value) => WebUtility.HtmlEncode(UntrustedText.Replace(value, '\uFFFD'));
}
