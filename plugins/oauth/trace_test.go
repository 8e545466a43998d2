package oauth_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// traced returns a client, and everything that the spans it ends say.
func traced(t *testing.T) (*oauth.Client, context.Context, func() tracetest.SpanStubs) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(t.Context())) })
	ctx, span := provider.Tracer("test").Start(t.Context(), "caller")
	t.Cleanup(func() { span.End() })
	return oauth.NewClient(oauth.Config{TracerProvider: provider, Timeout: 2 * time.Second}), ctx, exporter.GetSpans
}

func TestTokenSendsTheVendorNoTraceContext(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	member, err := baggage.NewMember("tenant", "acme")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	client, ctx, spans := traced(t)
	base, last := vendor(t, answers(200, "application/json", goodToken))
	if _, err := client.Token(baggage.ContextWithBaggage(ctx, bag), oauth.Endpoint{TokenURL: base + "/t?refresh"}, refresh()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
		if got := last().Header.Get(name); got != "" {
			t.Errorf("the vendor got %s: %s", name, got)
		}
	}
	if got := spans(); len(got) != 1 || !got[0].Parent.IsValid() {
		t.Fatalf("spans: %v", got)
	}
	for _, a := range spans()[0].Attributes {
		if a.Key == "url.full" && a.Value.AsString() != base+"/t" {
			t.Errorf("url.full %s", a.Value.AsString())
		}
	}
}

func TestSpansTellNoSecretAndNoVendorText(t *testing.T) {
	for name, respond := range map[string]func(net.Conn){
		"good":        writes(response("200 OK", "X-Text: "+vendorCanary+"\r\n", `{"access_token":"`+vendorCanary+`"}`)),
		"refused":     writes(response("400 "+vendorCanary, "", `{"error":"`+vendorCanary+`"}`)),
		"redirect":    writes(response("302 x", "Location: http://"+vendorCanary+"/\r\n", "")),
		"no HTTP":     writes(vendorCanary + "\r\n\r\n"),
		"bad header":  writes("HTTP/1.1 200 OK\r\n" + vendorCanary + "\r\n\r\n"),
		"bad trailer": writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + vendorCanary + "\r\n\r\n"),
		"bad chunk":   writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + vendorCanary + "\r\n"),
		"bad length":  writes("HTTP/1.1 200 OK\r\nContent-Length: " + vendorCanary + "\r\n\r\n"),
		"bad coding":  writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + vendorCanary + "\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			client, ctx, spans := traced(t)
			url, _ := rawVendor(t, respond)
			_, err := client.Token(ctx, oauth.Endpoint{TokenURL: url + "?q=" + codeCanary}, refresh())
			if len(spans()) != 1 {
				t.Fatalf("%d spans", len(spans()))
			}
			told := fmt.Sprintf("%v %+v", err, spans()[0].Snapshot())
			for _, a := range spans()[0].Attributes {
				told += a.Value.String()
			}
			told += spans()[0].Status.Description
			if strings.Contains(told, "canary") {
				t.Error(told)
			}
		})
	}
}

func TestSpansOfAPICallsTellNoCredentialAndNoQuery(t *testing.T) {
	client, ctx, spans := traced(t)
	url, _ := rawVendor(t, writes(response("401 "+vendorCanary, "WWW-Authenticate: "+vendorCanary+"\r\n", `{"code":"`+vendorCanary+`"}`)))
	basic := oauth.APIRequest{
		Method: http.MethodPost, URL: url, Username: core.NewSecret(tokenCanary), Password: core.NewSecret(passwordCanary),
		Params: map[string]core.Secret{"client_secret": core.NewSecret(secretCanary)},
	}
	for _, r := range []oauth.APIRequest{get(url + "?code=" + codeCanary), basic} {
		if a, err := client.API(ctx, r); err != nil || a.OK() {
			t.Fatal(err)
		}
	}
	if got := spans(); len(got) != 2 || strings.Contains(fmt.Sprintf("%+v", got.Snapshots()), "canary") {
		t.Errorf("%d spans: %+v", len(got), got)
	}
}
