package plugintest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

func checkAPIHost(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		checker, ok := s.adapter.(core.HostChecker)
		check := func(raw string) (string, error) {
			return within(ctx, s, "CheckAPIBaseURL", func(ctx context.Context) (string, error) {
				return checker.CheckAPIBaseURL(ctx, b.credentials(), raw)
			})
		}
		const attacker = "https://" + faultproxy.Canary + ".example"
		if ok {
			_, err := check(attacker)
			ok = !errors.Is(err, errors.ErrUnsupported)
		}
		if !ok {
			r.skipf("the adapter has no core.HostChecker: a grant with an api_base_url cannot be imported")
			return
		}
		for _, raw := range []string{attacker, "", "javascript:alert(1)", "http://169.254.169.254", "https://user@" + faultproxy.Canary + ".example", "//"} {
			if _, err := check(raw); err == nil {
				r.errorf("%q is taken for a host of the vendor", raw)
			} else {
				b.anyFailure(r, "a foreign host", err)
			}
		}
		set, err := b.grant(ctx, s)
		if err != nil || set.APIBaseURL == "" {
			return
		}
		normal, err := check(set.APIBaseURL)
		if err != nil || normal != set.APIBaseURL {
			r.errorf("the host that an exchange names is refused, or comes back in another form")
		}
	})
}

func checkEvents(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		reader, ok := s.adapter.(core.EventReader)
		read := func(body []byte) error {
			_, err := within(ctx, s, "ReadEvent", func(ctx context.Context) (core.VendorEvent, error) {
				return reader.ReadEvent(ctx, core.EventRequest{
					Client: b.credentials(), Body: body, ReceivedAt: time.Now(),
					Header: map[string][]string{"Content-Type": {"application/json"}, "User-Agent": {faultproxy.Canary}},
				})
			})
			return err
		}
		if !ok || errors.Is(read(nil), errors.ErrUnsupported) {
			r.skipf("the adapter has no core.EventReader")
			return
		}
		for what, body := range map[string][]byte{
			"an empty body": nil, "a body that is no event": []byte(faultproxy.Canary), "an empty object": []byte("{}"),
			"a long body": []byte(`{"event":"` + strings.Repeat("x", 256<<10) + `"}`),
		} {
			e, ok := b.vendorError(r, what, read(body))
			if ok && e.Code != core.CodeAccessDenied && e.Code != core.CodeInvalidRequest {
				r.errorf("%s: VendorError.Code is %s instead of access_denied or invalid_request", what, e.Code)
			}
		}
	})
}
