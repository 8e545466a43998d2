package core

import (
	"context"
	"log/slog"
	"time"
)

// logEvent writes an event that was published to the log, with what happens next. again says that the line before told
// the same of another tenant of the client.
func (m *Manager) logEvent(ctx context.Context, e Event, again bool) {
	level, next := lineOf(e.Type)
	if again {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("grant", e.Grant), slog.String("tenant", e.Tenant), slog.String("client", e.Client), slog.String("vendor", e.Vendor),
		slog.Uint64("generation", e.Generation), slog.String("reason", e.Reason),
	}
	for _, at := range []struct {
		key  string
		time *time.Time
	}{{"expires_at", e.ExpiresAt}, {"consent_expires_at", e.ConsentExpiresAt}, {"next_attempt", e.NextAttempt}} {
		if at.time != nil {
			attrs = append(attrs, slog.Time(at.key, *at.time))
		}
	}
	if e.Attempts > 0 {
		attrs = append(attrs, slog.Int("attempts", e.Attempts))
	}
	if e.VendorRevoked != nil {
		attrs = append(attrs, slog.Bool("vendor_revoked", *e.VendorRevoked))
	}
	m.log.LogAttrs(ctx, level, string(e.Type), append(attrs, slog.String("next", next))...)
}

// lineOf is how the log tells events of a type: an error where an operator has something to mend, a warning where
// somebody has to do something or a token may be missed.
func lineOf(t EventType) (level slog.Level, next string) {
	switch t {
	case TokenIssued:
		return slog.LevelInfo, "it is handed out, and refreshed ahead of its end unless the client's policy is lazy"
	case TokenExpiring:
		return slog.LevelInfo, "it is refreshed now; where the client's policy is lazy, when somebody asks"
	case TokenRevoked:
		return slog.LevelInfo, "nobody gets a token of this grant until its owner authorizes again"
	case TokenRefreshFailed:
		return slog.LevelWarn, "the token is handed out while it lives; the vendor is asked again at next_attempt"
	case GrantReauthorizationRequired:
		return slog.LevelWarn, "callers are told to send the owner of the account to connect_url"
	case GrantAuthorizationFailed:
		return slog.LevelInfo, "the grant is what it was; its owner may open the link again"
	case GrantExpiring:
		return slog.LevelWarn, "its owner must authorize again before consent_expires_at"
	case ClientSuspended:
		return slog.LevelError, "its refreshes wait but for one that tries, and live tokens are handed out; mend its credentials in the configuration"
	case ClientResumed:
		return slog.LevelInfo, "its grants are refreshed in the order in which they end"
	case VendorUnavailable:
		return slog.LevelWarn, "live tokens are handed out; one call tries every 20 s"
	case VendorAvailable:
		return slog.LevelInfo, "what waited is refreshed in the order in which it ends"
	}
	return slog.LevelInfo, ""
}
