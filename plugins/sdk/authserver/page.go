package authserver

import (
	"html/template"
	"net/http"
)

type pageData struct {
	Vendor, Action, Client, Account, Request string
	Scope                                    []string
	// Problem stands instead of the form.
	Problem string
}

// page is well-formed XML too, so that a scripted browser can read its form with the standard library.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{{.Vendor}} (sandbox)</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem; color: #222; }
header { color: #666; border-bottom: 1px solid #ddd; margin-bottom: 1.5rem; }
input[type=text] { font: inherit; padding: .3rem .5rem; width: 100%; box-sizing: border-box; }
button { font: inherit; padding: .4rem 1.2rem; margin: 1rem .5rem 0 0; }
</style>
</head>
<body>
<header><strong>{{.Vendor}}</strong>: a sandbox on this machine, not the vendor</header>
{{if .Problem}}<h1>This request cannot be answered</h1>
<p>{{.Problem}}</p>
{{else}}<h1>Allow access?</h1>
<p>The application <code>{{.Client}}</code> asks to act for you with these permissions:</p>
<ul>
{{range .Scope}}<li><code>{{.}}</code></li>
{{end}}</ul>
<form method="post" action="{{.Action}}">
<input type="hidden" name="request" value="{{.Request}}" />
<p><label>Signed in as <input type="text" name="account" value="{{.Account}}" maxlength="254" autocomplete="off" /></label></p>
<button type="submit" name="decision" value="accept">Allow access</button>
<button type="submit" name="decision" value="deny">Deny</button>
</form>
{{end}}</body>
</html>
`))

func showPage(w http.ResponseWriter, status int, data pageData) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = page.Execute(w, data) // the browser may be gone
}
