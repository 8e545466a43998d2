package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// TestTheContractNamesEverything holds that each name that other programs can meet is in docs/contract.md.
func TestTheContractNamesEverything(t *testing.T) {
	doc := read(t, "../docs/contract.md")
	for _, name := range contractNames() {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/contract.md does not have `%s`", name)
		}
	}
	for _, e := range wire.Endpoints() {
		if !regexp.MustCompile(`\.` + regexp.QuoteMeta(string(e)) + "`").MatchString(doc) {
			t.Errorf("docs/contract.md does not have the request %s", e)
		}
	}
}

func contractNames() []string {
	names := []string{
		wire.EventStream, wire.HeaderErrorCode, wire.HeaderError, wire.HeaderMsgID, wire.HeaderTraceParent, wire.HeaderSealTo, wire.HeaderSealedBy,
		core.ReasonInvalidGrant, core.ReasonOutcomeUnknown, core.ReasonConsentExpired, core.ReasonRefreshExpired,
		core.IssuedAuthorized, core.IssuedRefreshed, core.IssuedImported, core.IssuedClientCredentials, core.IssuedRecovered,
		core.IssuedConfirmed,
	}
	names = append(names, core.VendorCodes()...)
	for _, s := range core.States() {
		names = append(names, string(s))
	}
	for _, e := range core.EventTypes() {
		names = append(names, string(e))
	}
	for _, c := range []core.Code{
		core.InvalidRequest, core.NotFound, core.AccessDenied, core.ReauthorizationRequired, core.TemporarilyUnavailable,
		core.InvalidClient, core.Unsupported, core.ServerError,
	} {
		names = append(names, string(c))
	}
	for _, w := range []core.Warning{
		core.WarnOutcomeUnknown, core.WarnRefreshedRecently, core.WarnMinTTLUnmet, core.WarnVendorUnavailable,
		core.WarnClientSuspended, core.WarnVendorRevocationPending, core.WarnVendorCannotRevoke, core.WarnClientNotConfigured,
	} {
		names = append(names, string(w))
	}
	for _, message := range []any{
		wire.Token{}, wire.Grant{}, wire.GrantPage{}, wire.Authorization{}, wire.Error{}, wire.EventData{}, wire.TokenGetRequest{},
		wire.TokenReportRequest{}, wire.TokenRevokeRequest{}, wire.AuthorizeRequest{}, wire.ExchangeRequest{}, wire.ImportRequest{},
		wire.ListRequest{}, wire.AccountRequest{},
	} {
		names = append(names, fields(reflect.TypeOf(message))...)
	}
	return names
}

func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, fields(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// TestEveryVendorHasAPage holds that each vendor's settings are on its page.
func TestEveryVendorHasAPage(t *testing.T) {
	schemas, err := fs.Glob(os.DirFS("../plugins"), "*/settings.json")
	if err != nil || len(schemas) == 0 {
		t.Fatal(schemas, err)
	}
	for _, schema := range schemas {
		vendor := filepath.Dir(schema)
		page := read(t, fmt.Sprintf("../docs/vendors/%s.md", vendor))
		for _, m := range regexp.MustCompile(`(?m)^    "([a-z_]+)": \{`).FindAllStringSubmatch(read(t, "../plugins/"+schema), -1) {
			if !strings.Contains(page, "| `"+m[1]+"` |") {
				t.Errorf("the page of %s does not have the setting %s", vendor, m[1])
			}
		}
	}
}
