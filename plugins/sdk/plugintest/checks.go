package plugintest

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// stopWithin is how long a plugin may take to end once it was told to.
	stopWithin = 3 * time.Second
	// lateness is how much later than its deadline a call may return: what a loaded machine takes.
	lateness = 400 * time.Millisecond
)

// Checks returns what is checked, in the order in which it runs.
func Checks() []Check {
	return slices.Concat(startChecks(), grantChecks(), callChecks(), answerChecks(), endChecks())
}

// startChecks need no vendor.
func startChecks() []Check {
	return []Check{
		{Name: "handshake", process: true, run: checkHandshake,
			What: "The binary starts, says hello as a plugin, in the host's version of the protocol, and nothing else before that.",
			Fix:  "Let main be nothing but sdk.Serve(adapter); print nothing to standard output before it; build with the plugins/sdk of this esignd."},
		{Name: "by-hand", process: true, run: checkByHand,
			What: "Started by a person, the binary says on standard error what it is, prints nothing else, and ends with a status that is not 0.",
			Fix:  "Let main be nothing but sdk.Serve(adapter), which does this. Do nothing before it that needs a host."},
		{Name: "metadata", run: checkMetadata,
			What: "Metadata is complete, consistent in itself, always the same, and told without asking the vendor.",
			Fix:  "Write core.Metadata as constants, from the vendor's documents; see its fields for what each means."},
		{Name: "settings", run: checkSettings,
			What: "SettingsSchema is a JSON Schema that takes the sandbox's settings and its own defaults; secrets in it are writeOnly. A URL of plain http is taken on the loopback only.",
			Fix:  `Embed a settings.json as plugins/dropboxsign has one: an object with "additionalProperties": false, a description for each property, and "writeOnly": true for secrets. Read URLs with oauth.URLSetting.`},
	}
}

// grantChecks follow a grant from its consent to its end.
func grantChecks() []Check {
	return []Check{
		{Name: "authorization-url", run: checkAuthorizationURL,
			What: "AuthorizationURL is the vendor's consent page with response_type, client id, redirect URI, state, and the PKCE challenge where PKCE is declared, each encoded; no secret.",
			Fix:  "Build it with oauth.AuthorizationURL, which encodes, from the URL in the settings; declare PKCE only where the challenge is sent with code_challenge_method=S256."},
		{Name: "callback", run: checkCallback,
			What: "Callback finds the code in the vendor's redirect, asks nobody, and refuses a redirect with a parameter twice, or with an error.",
			Fix:  "Begin with oauth.Callback(r.Params), and look at the vendor's own parameters after it."},
		{Name: "denial", run: checkDenial,
			What: "A person who denies is CallbackResult.Denied, not an error and not a code.",
			Fix:  "Find out with what the vendor sends the browser back after a denial, and return its code of RFC 6749 §4.1.2.1 in lower case as Denied; oauth.Callback knows the usual forms."},
		{Name: "exchange", run: checkExchange,
			What: "A code becomes a token set that works; a spent or wrong code, and a wrong client secret, are a *core.VendorError with the outcome refused.",
			Fix:  "Ask the token endpoint with oauth.Client.Token, which sorts answers out; put what differs at the vendor into oauth.Endpoint."},
		{Name: "client-credentials", run: checkClientCredentials,
			What: "Where client_credentials is declared, the client's own token comes and works.",
			Fix:  "Send grant_type=client_credentials with the client's credentials, or take ClientCredentials out of Metadata.GrantTypes."},
		{Name: "refresh", run: checkRefresh,
			What: "A refresh token becomes another token set that works, again and again; an unknown one is refused, with the vendor's OAuth error code.",
			Fix:  "Send exactly the refresh token of the request; return the vendor's error code by oauth.Client.Token, since invalid_grant is what ends a grant."},
		{Name: "rotation", run: checkRotation,
			What: "RotatesRefreshTokens is what the vendor does, and a refresh token that comes with an answer is returned.",
			Fix:  "Return the answer's refresh token whenever there is one: a lost rotation ends the grant. Declare RotatesRefreshTokens where the vendor changes it, or may."},
		{Name: "revocation", run: checkRevocation,
			What: "With RevokesTokens, Revoke ends the tokens at the vendor, and a second time is success too; without it, Revoke is errors.ErrUnsupported and asks nobody.",
			Fix:  "Use oauth.Client.Revoke, with the vendor's codes for dead tokens in Endpoint.DeadTokenCodes; or return errors.ErrUnsupported and leave RevokesTokens false."},
	}
}

// callChecks are about how calls are made.
func callChecks() []Check {
	return []Check{
		{Name: "idempotence", run: checkIdempotence,
			What: "Asked twice the same, URL and callback are the same; and a token request that fails is sent once and not again.",
			Fix:  "Do not retry, not even by a library or a transport that does: esignd decides whether a code or refresh token may be presented again. oauth.Client sends each request at most once."},
		{Name: "concurrency", run: checkConcurrency,
			What: "Calls at the same time, for other grants and with other credentials, do not touch each other.",
			Fix:  "Keep nothing of a request in the adapter: no field is written after New. Take the credentials from the request at hand."},
		{Name: "statelessness", process: true, run: checkStatelessness,
			What: "A second process of the plugin goes on with a grant that the first one began.",
			Fix:  "Keep nothing between calls: whatever a refresh needs comes with the request, or in Settings."},
		{Name: "deadlines", run: checkDeadlines,
			What: "Where the vendor hangs, each call returns before its context ends, with the outcome unknown. Else the host kills the process, and every other call in it.",
			Fix:  "Pass ctx on: http.NewRequestWithContext(ctx, …). Read the body under it too. Wait for nothing without it."},
	}
}

// answerChecks let the vendor answer wrongly.
func answerChecks() []Check {
	return []Check{
		{Name: "refusals", run: checkRefusals,
			What: "A complete 4xx, and a 503, has the outcome refused; its code is the vendor's OAuth code or one of ours, and invalid_grant only where the vendor says so.",
			Fix:  "Return the errors of oauth.Client as they are. If you read answers yourself: 429 is rate_limited, 503 vendor_unavailable, both with RetryAfter; a 4xx without an OAuth code is http_error."},
		{Name: "outcomes", run: checkOutcomes,
			What: "What is no complete refusal has the outcome unknown: 500, a reset, half an answer. What never left has not_sent.",
			Fix:  "Return the errors of oauth.Client as they are: they know how far a request came. A wrong refused makes esignd present a refresh token that is spent; a wrong unknown ends grants that live."},
		{Name: "redirects", run: checkRedirects,
			What: "A redirect of the token endpoint is not followed, and its outcome is unknown: with it the client secret would go elsewhere.",
			Fix:  "Send with a RoundTripper, or set http.Client.CheckRedirect to return http.ErrUseLastResponse. oauth.Client does not follow."},
		{Name: "big-answers", run: checkBigAnswers,
			What: "An answer of 64 MiB, or one that unpacks to a GiB, is an error of unknown outcome, without taking the memory for it.",
			Fix:  "Read through io.LimitReader, and ask for no compression (Accept-Encoding: identity). oauth.Client reads 1 MiB at most."},
		{Name: "odd-answers", run: checkOddAnswers,
			What: "A 200 that holds no token set is an error of unknown outcome; a token set with an odd lifetime, scope or content type is a token set all the same.",
			Fix:  "Refuse an answer without access_token; take one with it, whatever else is odd, since its refresh token may be the only one that lives. A lifetime that makes no sense is 0."},
	}
}

// endChecks are about optional abilities, and about what is left of the run.
func endChecks() []Check {
	return []Check{
		{Name: "api-host", run: checkAPIHost,
			What: "Where core.HostChecker is there, it takes the vendor's own API host in one normal form, and no foreign one.",
			Fix:  "Compare the host with a pattern of the vendor's, or with the settings where they are loopback; refuse with oauth.HostRefused, without quoting the URL."},
		{Name: "events", run: checkEvents,
			What: "Where core.EventReader is there, it refuses what the vendor did not send, with access_denied or invalid_request.",
			Fix:  "Check the vendor's signature in constant time before anything else, and the age after it; return a *core.VendorError with one of the two codes."},
		{Name: "stop", process: true, run: checkStop,
			What: "Told to end, the process ends by itself within three seconds, and leaves no process behind.",
			Fix:  "Return from main when sdk.Serve returns. Start no processes; or end them, and wait for them, when Serve returns."},
		{Name: "secrets", run: checkSecrets,
			What: "No token, code, verifier, client secret or secret setting is in the plugin's output or in an error.",
			Fix:  "Print core.Secret values and never what Reveal returns; log no request, body or URL. The texts of net/http's errors hold URLs."},
		{Name: "vendor-text", run: checkVendorText,
			What: "Nothing that the vendor said is in an error or in the plugin's output: it may quote tokens, and it is not ours to vouch for.",
			Fix:  "Put codes of core.VendorCodes and sentences of your own into VendorError; drop error_description, bodies, headers and reason phrases."},
	}
}

// What several checks may lack. The first one that does tells of it as a failure, in whatever selection they run, and the
// others refer to it.
type lack string

const (
	noPlugin lack = "the plugin did not start"
	noVisit  lack = "no person could be sent to the consent page"
	noGrant  lack = "there is no grant to work with"
)

// errNoFront is returned where the sandbox cannot be made to go wrong.
var errNoFront = errors.New("no token request came by the kit's proxy: no setting is an http URL on the loopback that the token endpoint is at")

// without ends a check that lacks something.
func (b *bench) without(r *recorder, err error) {
	switch {
	case errors.Is(err, errNoCode), errors.Is(err, errNoFront), errors.Is(err, errStopped):
		r.skipf("%v", err)
	case b.startErr != nil:
		b.lacks(r, noPlugin, err)
	case errors.Is(err, errVisit):
		b.lacks(r, noVisit, err)
	case b.grantErr != nil:
		b.lacks(r, noGrant, err)
	default:
		r.errorf("it could not be prepared: %s", b.evidence.clean(err.Error()))
	}
}

func (b *bench) lacks(r *recorder, what lack, err error) {
	if told := b.told[what]; told != "" {
		r.skipf("%s: see %s", what, told)
		return
	}
	b.told[what] = r.check
	r.errorf("%s: %s", what, b.evidence.clean(err.Error()))
}

// withSubject starts the plugin, or skips.
func (b *bench) withSubject(ctx context.Context, r *recorder, f func(*subject)) {
	s, err := b.start(ctx)
	if err != nil {
		b.without(r, err)
		return
	}
	f(s)
}
