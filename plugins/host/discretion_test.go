package host

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
)

func TestDiscretionKnowsEverySecretOfACall(t *testing.T) {
	secret := core.NewSecret
	client := core.Credentials{
		ClientID: "public-client", ClientSecret: secret("CANARY-client"), Settings: map[string]string{"a": "public-setting"},
		SecretSettings: map[string]core.Secret{"api_key": secret("CANARY-key")},
	}
	d := &discretion{}
	d.learn(wire.EncodeTokenRequest(core.TokenRequest{
		Client: client, Code: secret("CANARY-code"), CodeVerifier: secret("CANARY-verifier"), RefreshToken: secret("CANARY-refresh"),
		AccessToken: secret("CANARY-access"), RedirectURI: "https://public.example", GrantType: core.RefreshToken,
	}))
	d.learn(wire.EncodeTokenResponse(core.TokenResponse{AccessToken: secret("CANARY-new-access"), RefreshToken: secret("CANARY-new-refresh")}, nil))
	d.learn(wire.EncodeRevocationRequest(core.RevocationRequest{Token: secret("CANARY-revoked")}))
	d.learn(wire.EncodeCallbackRequest(core.CallbackRequest{Params: url.Values{"code": {"CANARY-in-the-redirect"}}}))
	for _, one := range []string{
		"client", "key", "code", "verifier", "refresh", "access", "new-access", "new-refresh", "revoked", "in-the-redirect",
	} {
		if got := d.clean("x CANARY-" + one + " y"); strings.Contains(got, "CANARY") {
			t.Errorf("%s is not known: %q", one, got)
		}
	}
	const public = "public-client public-setting https://public.example refresh_token"
	if got := d.clean(public); got != public {
		t.Errorf("got %q", got)
	}
}

func TestDiscretionIsBounded(t *testing.T) {
	d := &discretion{}
	for n := range 10 * rememberedSecrets {
		d.learn(wire.EncodeRevocationRequest(core.RevocationRequest{Token: core.NewSecret(fmt.Sprintf("CANARY-%06d", n))}))
	}
	if len(d.known) != rememberedSecrets {
		t.Errorf("%d secrets are kept", len(d.known))
	}
	if got := d.clean(fmt.Sprintf("CANARY-%06d", 10*rememberedSecrets-1)); strings.Contains(got, "CANARY") {
		t.Error("the last one is not among them")
	}
	d.learn(wire.EncodeRevocationRequest(core.RevocationRequest{Token: core.NewSecret("word")}))
	if d.clean("a word") != "a word" {
		t.Error("what is as short as a word is taken for a secret")
	}
}
