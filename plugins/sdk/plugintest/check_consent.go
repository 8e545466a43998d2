package plugintest

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// absolute reports whether raw is an absolute URL that is https, or http on the loopback.
func absolute(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || loopbackOrigin(raw) != "")
}

// has reports whether any parameter has the value.
func has(q url.Values, value string) bool {
	for _, values := range q {
		if slices.Contains(values, value) {
			return true
		}
	}
	return false
}

// withCode runs a check that needs the code flow.
func (b *bench) withCode(ctx context.Context, r *recorder, f func(*subject)) {
	b.withSubject(ctx, r, func(s *subject) {
		if !b.metadata.Supports(core.AuthorizationCode) {
			b.without(r, errNoCode)
			return
		}
		f(s)
	})
}

func checkAuthorizationURL(ctx context.Context, b *bench, r *recorder) {
	b.withCode(ctx, r, func(s *subject) {
		plain, _ := b.authorizationRequest()
		odd := plain
		odd.RedirectURI += "?tenant=a%26b+c&next=%2F"
		odd.State = "st&te=%2F+é?#"
		for _, request := range []core.AuthorizationRequest{plain, odd} {
			page, err := s.AuthorizationURL(ctx, request)
			if err != nil {
				b.told[noVisit] = r.check
				r.errorf("it fails: %s", b.evidence.clean(err.Error()))
				return
			}
			u, err := url.Parse(page)
			if err != nil || !absolute(page) {
				r.errorf("it is no absolute https URL")
				return
			}
			b.checkPage(r, u, request)
		}
	})
}

// checkPage looks for what a consent page has to be told.
func (b *bench) checkPage(r *recorder, u *url.URL, request core.AuthorizationRequest) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		r.errorf("its query cannot be parsed: something is not encoded")
		return
	}
	if len(b.links) > 0 && !slices.ContainsFunc(b.links, func(l *link) bool { return l.proxy.URL() == u.Scheme+"://"+u.Host }) {
		r.errorf("it leads to %s, and no setting does: the adapter does not read the client's settings", u.Host)
	}
	for what, value := range map[string]string{
		"response_type=code": "code", "the client id": request.Client.ClientID, "the redirect URI": request.RedirectURI, "the state": request.State,
	} {
		if !has(q, value) {
			r.errorf("%s is not in its query, or is not encoded", what)
		}
	}
	if secret := b.cfg.Sandbox.ClientSecret; len(secret) >= minNeedle && strings.Contains(u.String(), secret) {
		r.errorf("it holds the client secret, which a browser must not see")
	}
	b.checkChallenge(r, q, request.CodeChallenge)
	b.checkScope(r, q)
	for name, values := range q {
		if len(values) > 1 {
			r.errorf("the parameter %s is there twice", name)
		}
	}
}

func (b *bench) checkChallenge(r *recorder, q url.Values, challenge string) {
	switch {
	case challenge == "" && (q.Has("code_challenge") || q.Has("code_challenge_method")):
		r.errorf("there is a code_challenge parameter, and PKCE is not declared")
	case challenge != "" && (!has(q, challenge) || !has(q, "S256")):
		r.errorf("PKCE is declared, and the challenge or its method S256 is not in the query")
	}
}

func (b *bench) checkScope(r *recorder, q url.Values) {
	asked := b.cfg.Sandbox.Scopes
	if len(asked) == 0 {
		return
	}
	if !q.Has("scope") {
		r.notef("the scope is not in the query: does the vendor take none?")
		return
	}
	got := strings.FieldsFunc(q.Get("scope"), func(c rune) bool { return c == ' ' || c == ',' })
	for _, scope := range asked {
		if !slices.Contains(got, scope) {
			r.errorf("the scope %q is not asked for", scope)
		}
	}
}

func checkCallback(ctx context.Context, b *bench, r *recorder) {
	b.withCode(ctx, r, func(s *subject) {
		v, err := b.visit(ctx, s, true)
		if err != nil {
			b.without(r, err)
			return
		}
		before := b.requests()
		call := func(params url.Values) (core.CallbackResult, error) {
			return s.Callback(ctx, core.CallbackRequest{Client: v.request.Client, Params: params})
		}
		result, err := call(v.params)
		switch {
		case err != nil:
			r.errorf("a person accepted, and it fails: %s", b.evidence.clean(err.Error()))
			return
		case result.Code.IsZero() || result.Denied != "":
			r.errorf("%s", noCode(result))
			return
		case !has(v.params, result.Code.Reveal()):
			r.errorf("the code is not one that stands in the redirect")
		}
		twice(r, v.params, call)
		refusing(b, r, v.params, call)
		if b.requests() != before {
			r.errorf("it asks the vendor")
		}
	})
}

// noCode says what came in the place of a code. The adapter's own word is told where it is a word: vendors refuse a scope,
// or a redirect URI, in this way too.
func noCode(result core.CallbackResult) string {
	switch {
	case !result.Code.IsZero():
		return "the person accepted, and there is a denial beside the code"
	case oauthWord.MatchString(result.Denied):
		return "the person accepted, and was sent back with " + result.Denied + " instead of a code"
	default:
		return "the person accepted, and there is no code"
	}
}

// twice repeats parameters of OAuth, which RFC 6749 §3.1 forbids: which of the two is meant?
func twice(r *recorder, params url.Values, call func(url.Values) (core.CallbackResult, error)) {
	for _, name := range []string{"code", "state"} {
		if !params.Has(name) {
			continue
		}
		doubled := maps.Clone(params)
		doubled[name] = []string{params.Get(name), "another-" + name}
		if result, err := call(doubled); err == nil && !result.Code.IsZero() {
			r.errorf("a redirect with the parameter %s twice is taken", name)
		}
	}
}

var oauthWord = regexp.MustCompile(`^[a-z_]{1,64}$`)

// refusing sends redirects that hold no good news.
func refusing(b *bench, r *recorder, params url.Values, call func(url.Values) (core.CallbackResult, error)) {
	failed := maps.Clone(params)
	failed.Set("error", "access_denied")
	for what, params := range map[string]url.Values{
		"no parameters":          {},
		"an error beside a code": failed,
		"an error of the vendor's own": {
			"error": {faultproxy.Canary}, "error_description": {faultproxy.Canary}, "state": params["state"],
		},
	} {
		result, err := call(params)
		switch {
		case err != nil:
			b.anyFailure(r, "a redirect with "+what, err)
		case !result.Code.IsZero() || result.Denied == "":
			r.errorf("a redirect with %s gives a code, or neither code nor denial", what)
		case !oauthWord.MatchString(result.Denied) || strings.Contains(result.Denied, faultproxy.Canary):
			r.errorf("a redirect with %s: Denied is not a code of RFC 6749 §4.1.2.1 but the vendor's text", what)
		}
	}
}

func checkDenial(ctx context.Context, b *bench, r *recorder) {
	b.withCode(ctx, r, func(s *subject) {
		v, err := b.visit(ctx, s, false)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			r.skipf("Sandbox.Consent cannot deny")
			return
		case err != nil:
			b.without(r, err)
			return
		}
		result, err := s.Callback(ctx, core.CallbackRequest{Client: v.request.Client, Params: v.params})
		switch {
		case err != nil:
			r.errorf("it is an error: %s", b.evidence.clean(err.Error()))
		case !result.Code.IsZero():
			r.errorf("a person denied, and there is a code")
		case result.Denied == "":
			r.errorf("Denied is empty")
		case result.Denied != core.CodeAccessDenied:
			r.notef("Denied is %q; a person's refusal is usually access_denied", b.evidence.clean(result.Denied))
		}
	})
}
