using System.Text;

namespace CriShim.Metrics;

/// <summary>Values of labels.</summary>
internal static class MetricLabel
{
    /// <summary>A name of ours (<c>ErrorExit</c>, <c>API server</c>) as labels are written: <c>error_exit</c>, <c>api_server</c>.</summary>
    public static string Of(string name)
    {
        var label = new StringBuilder(name.Length + 4);
        for (int i = 0; i < name.Length; i++)
        {
            char letter = name[i];
            if (!char.IsAsciiLetterOrDigit(letter))
            {
                _ = label.Append('_');
                continue;
            }

            if (char.IsAsciiLetterUpper(letter) && i > 0 && char.IsAsciiLetterLower(name[i - 1]))
            {
                _ = label.Append('_');
            }

            _ = label.Append(char.ToLowerInvariant(letter));
        }

        return label.ToString();
    }
}
