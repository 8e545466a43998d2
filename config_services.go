package esignd

import (
	"fmt"
	"os"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/wire"
)

const (
	nkeyPattern = `^U[A-Z2-7]{55}$`
	nkeyWords   = "is not the public part of a user NKey, U and 55 letters and digits; `esignd creds new` makes one"
)

// Service is a program that may connect, with what it proves itself by and what it may do.
type Service struct {
	Name   string
	Tenant string
	NKeys  []string // public parts
	// Certificate takes the place of NKeys: a name in the certificate that it shows, which is its subject, an e-mail address,
	// a DNS name or a URI.
	Certificate string
	Role        string // caller, operator or auditor
}

func servicesWithDefaults(services []Service) []Service {
	services = slices.Clone(services) // the caller's stay as they are
	for i := range services {
		if services[i].Role == "" {
			services[i].Role = string(wire.Caller)
		}
	}
	return services
}

// LoadNATS reads what a configuration says of NATS. A command that runs elsewhere than the daemon need not be given the
// secrets that the file names.
func LoadNATS(path string, environ []string) (NATS, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return NATS{}, fmt.Errorf("read the configuration: %w", err)
	}
	src, raw, err := readYAML(text)
	if err != nil {
		return NATS{}, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	src.override(raw, environment(environ))
	var p problems
	p.addShape(raw, configSchema, "")
	var cfg Config
	if len(p.list) == 0 {
		if cfg, err = decodeConfig(raw); err != nil {
			return NATS{}, fmt.Errorf("configuration %s:\n%w", path, err)
		}
		cfg = cfg.withDefaults()
		cfg.NATS.checkServices(&p)
	}
	if err := p.err(src); err != nil {
		return NATS{}, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return cfg.NATS, nil
}

// Callers returns the services as the bus knows them.
func (n NATS) Callers() []bus.Caller {
	callers := make([]bus.Caller, len(n.Services))
	for i, s := range n.Services {
		callers[i] = bus.Caller{Name: s.Name, Tenant: s.Tenant, Role: wire.Role(s.Role), NKeys: s.NKeys, Certificate: s.Certificate}
	}
	return callers
}

// auth returns the two forms that the setting has.
func (n NATS) auth() any {
	if n.Auth != AuthServices {
		return string(n.Auth)
	}
	services := make([]any, len(n.Services))
	for i, s := range n.Services {
		services[i] = filled(map[string]any{"name": s.Name, "tenant": s.Tenant, "role": s.Role, "nkeys": list(s.NKeys), "certificate": s.Certificate})
	}
	return map[string]any{"services": services}
}

// checkServices finds services that NATS could not tell apart.
func (n NATS) checkServices(p *problems) {
	if n.Auth == AuthNone && len(n.Services) > 0 {
		p.addf("nats.auth", "is none, which lets everybody in, and lists services; say one of them")
	}
	names, keys := map[string]int{}, map[string]int{}
	for i, s := range n.Services {
		at := fmt.Sprintf("nats.auth.services[%d]", i)
		// What is of a service is named by both together.
		name := s.Tenant + "_" + s.Name
		if first, ok := names[name]; ok {
			p.addf(at+".name", "%q of tenant %q shares its subjects (_INBOX_%s.>) with services[%d]; give each a name of its own", s.Name, s.Tenant, name, first)
		} else {
			names[name] = i
		}
		for j, key := range s.NKeys {
			if first, ok := keys[key]; ok {
				p.addf(fmt.Sprintf("%s.nkeys[%d]", at, j), "is a key of services[%d] too; make one for each with `esignd creds new`", first)
			} else {
				keys[key] = i
			}
		}
		n.checkProof(p, at, s)
		if first, ok := keys[s.Certificate]; ok {
			p.addf(at+".certificate", "is that of services[%d] too; give each one of its own", first)
		} else if s.Certificate != "" {
			keys[s.Certificate] = i
		}
	}
}

// checkProof finds what is wrong with how a service proves who it is.
func (n NATS) checkProof(p *problems, at string, s Service) {
	switch {
	case len(s.NKeys) == 0 && s.Certificate == "":
		p.addf(at, "has nothing to prove itself by: list the public part of its key in nkeys (`esignd creds new` makes one), or name its certificate")
	case len(s.NKeys) > 0 && s.Certificate != "":
		p.addf(at, "has nkeys and a certificate; say one of them")
	case s.Certificate == "":
	case n.URL == "" && n.TLS.CA == "":
		p.addf(at+".certificate", "needs nats.tls: cert and key of the server, and in ca the authority that signs the services' certificates")
	case n.URL != "" && n.TLS.Cert == "":
		p.addf(at+".certificate", "needs nats.tls.cert and key: a server that asks services for certificates asks esignd for one too")
	}
}

// addAuth tells what is wrong with nats.auth. Where it is a group of settings, services were meant.
func (s shape) addAuth(at string, e *jsonschema.ValidationError) {
	for _, cause := range e.Causes {
		if _, isConst := cause.ErrorKind.(*kind.Const); isConst {
			continue
		}
		if k, ok := cause.ErrorKind.(*kind.Type); ok && len(cause.InstanceLocation) == len(e.InstanceLocation) && k.Got != "object" {
			s.addf(at, authWords)
			continue
		}
		s.add(cause)
	}
}

// serviceWords says what to do about a setting of a service that must be there.
func serviceWords(name string) string {
	switch name {
	case "name":
		return ": a service has a name of its own, which its reply subjects and its consumer have too"
	case "tenant":
		return ": name the tenant whose grants the service uses, such as default"
	}
	return ""
}
