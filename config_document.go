package esignd

import (
	"strconv"
	"time"
)

// document returns c as its file would say it, for the schema. What is empty is left out, and a secret is there or not.
func (c Config) document() map[string]any {
	clients := make([]any, len(c.Clients))
	for i, cl := range c.Clients {
		clients[i] = cl.document()
	}
	pins := map[string]any{}
	for vendor, digest := range c.Plugins.SHA256 {
		pins[vendor] = digest
	}
	return filled(map[string]any{
		"data_dir": c.DataDir,
		"nats": filled(map[string]any{
			"url": string(c.NATS.URL), "listen": c.NATS.Listen, "auth": c.NATS.auth(), "prefix": c.NATS.Prefix,
			"replicas": c.NATS.Replicas, "quota": map[string]any{"per_second": c.NATS.Quota.PerSecond, "concurrent": c.NATS.Quota.Concurrent},
			"credentials": c.NATS.Credentials, "tls": c.NATS.TLS.document(),
		}),
		"http": filled(map[string]any{
			"listen": c.HTTP.Listen, "admin": c.HTTP.Admin, "public_url": c.HTTP.PublicURL, "return_to": list(c.HTTP.ReturnTo),
			"tls":       c.HTTP.TLS.document(),
			"admin_url": c.HTTP.AdminURL, "metrics_token": given(!c.HTTP.MetricsToken.IsZero()), "trusted_proxies": list(c.HTTP.TrustedProxies),
		}),
		"plugins": filled(map[string]any{"dir": c.Plugins.Dir, "sha256": pins}),
		"clients": clients,
		"keys":    filled(map[string]any{"keyset": c.Keys.Keyset, "wrap": given(!c.Keys.Wrap.IsZero() || c.Keys.Wrapper != nil)}),
		"audit": map[string]any{
			"enabled": c.Audit.Enabled, "max_age": hours(c.Audit.MaxAge), "max_bytes": c.Audit.MaxBytes,
		},
		"log": filled(map[string]any{"level": c.Log.Level, "format": c.Log.Format}),
	})
}

func (t TLS) document() map[string]any {
	return filled(map[string]any{"ca": t.CA, "cert": t.Cert, "key": t.Key})
}

// hours writes a time as its setting does; one that is not of whole hours does not pass for one.
func hours(d time.Duration) string {
	if d%time.Hour != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
}

func (c Client) document() map[string]any {
	settings := map[string]any{}
	for name, value := range c.Settings {
		settings[name] = value
	}
	for name := range c.SecretSettings {
		settings[name] = given(true)
	}
	tenants := list(c.Tenants)
	doc := filled(map[string]any{
		"name": c.Name, "vendor": c.Vendor, "client_id": c.ClientID, "client_secret": given(!c.ClientSecret.IsZero()),
		"grant_type": string(c.GrantType), "scopes": list(c.Scopes), "redirect_uris": list(c.RedirectURIs),
		"policy": string(c.Policy), "settings": settings,
	})
	if c.Tenants != nil { // an empty list is a mistake, not a default
		doc["tenants"] = tenants
	}
	return doc
}

// given stands for a secret.
func given(there bool) any {
	if !there {
		return nil
	}
	return map[string]any{"env": "given"}
}

func list(values []string) []any {
	l := make([]any, len(values))
	for i, v := range values {
		l[i] = v
	}
	return l
}

// filled leaves out the empty members of a map.
func filled(m map[string]any) map[string]any {
	for name, value := range m {
		switch v := value.(type) {
		case nil:
			delete(m, name)
		case string:
			if v == "" {
				delete(m, name)
			}
		case []any:
			if len(v) == 0 {
				delete(m, name)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(m, name)
			}
		}
	}
	return m
}
