using Google.Protobuf;
using Google.Protobuf.Collections;

namespace CriShim.Proxy.Services;

/// <summary>Messages with other items than the backend sent; the backend's own stays as it is.</summary>
internal static class RewrittenItems
{
    /// <summary>A copy with these items.</summary>
    /// <param name="message">The backend's.</param>
    /// <param name="items">The field.</param>
    /// <param name="shown">What is in it; null: the message itself is shown.</param>
    public static T With<T, TItem>(T message, Func<T, RepeatedField<TItem>> items, IReadOnlyList<TItem>? shown)
        where T : IDeepCloneable<T>
    {
        if (shown is null)
        {
            return message;
        }

        T rewritten = message.Clone();
        items(rewritten).Clear();
        items(rewritten).AddRange(shown);
        return rewritten;
    }
}
