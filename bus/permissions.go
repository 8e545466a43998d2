package bus

import (
	"github.com/nats-io/nats-server/v2/server"

	"github.com/esignd/esignd/bus/wire"
)

// anonymousPermissions are those of a caller under auth none: the API of every tenant, discovery, the events, and
// nothing else. A NATS permission cannot say "tokens that begin with _INBOX_", so answers go to _INBOX.> only.
func anonymousPermissions(prefix string) *server.Permissions {
	allow := []string{
		prefix + ".api.>", "$SRV.>",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
	}
	for _, verb := range []string{
		"STREAM.INFO", "STREAM.MSG.GET", "CONSUMER.LIST", "CONSUMER.NAMES",
		// The old form without a name, and the one that has the name and the filter behind the stream's name.
		"CONSUMER.CREATE", "DIRECT.GET",
	} {
		allow = append(allow, "$JS.API."+verb+"."+wire.EventStream)
	}
	for _, verb := range []string{
		"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE", "DIRECT.GET",
	} {
		allow = append(allow, "$JS.API."+verb+"."+wire.EventStream+".>")
	}
	allow = append(allow, "$JS.ACK."+wire.EventStream+".>", "$JS.FC.>")
	return permissions(allow, []string{"_INBOX.>", prefix + ".event.>"})
}

// callerPermissions are those of a caller that is known: what is its tenant's, and one durable consumer. The subject
// with which a consumer is made holds its filter, and that is how the server keeps the consumer to the tenant's events.
func callerPermissions(prefix string, c Caller) *server.Permissions {
	events := wire.TenantEvents(prefix, c.Tenant, ">")
	durable := wire.EventStream + "." + c.Tenant + "_" + c.Name
	return permissions(
		[]string{
			prefix + ".api." + c.Tenant + ".>", "$SRV.>",
			"$JS.API.INFO",
			"$JS.API.CONSUMER.CREATE." + durable + "." + events,
			"$JS.API.CONSUMER.INFO." + durable,
			"$JS.API.CONSUMER.MSG.NEXT." + durable,
			"$JS.API.CONSUMER.DELETE." + durable,
			"$JS.ACK." + durable + ".>",
		},
		[]string{c.inbox() + ".>", events},
	)
}

func permissions(publish, subscribe []string) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}
