// Command esignd-plugin-byhand is a plugin that is made with gRPC and TLS only, as one in another language is: without
// plugins/sdk and without go-plugin. docs/adding-a-vendor.md describes each of its steps.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/byhand/pluginv1"
)

func main() {
	if os.Getenv("ESIGND_PLUGIN") != "b1c2f7d5-esignd-plugin-adapter" {
		log.Fatal("esignd starts this program")
	}
	if !slices.Contains(strings.Split(os.Getenv("PLUGIN_PROTOCOL_VERSIONS"), ","), "1") {
		log.Fatal("this program speaks version 1 of the protocol")
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	config, certificate, err := mutualTLS(os.Getenv("PLUGIN_CLIENT_CERT"))
	if err != nil {
		return err
	}
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "adapter")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	pluginv1.RegisterAdapterServer(server, adapter{})
	state := health.NewServer()
	state.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, state)
	server.RegisterService(&controller, server)
	go endWithParent(server, os.Getppid())
	fmt.Printf("1|1|unix|%s|grpc|%s\n", socket, base64.RawStdEncoding.EncodeToString(certificate))
	return server.Serve(listener)
}

// endWithParent stops the server once the host is gone, which nobody tells a plugin whose host was killed.
func endWithParent(server *grpc.Server, parent int) {
	for os.Getppid() == parent {
		time.Sleep(time.Second)
	}
	server.Stop()
}

// controller is the service with which the host ends the plugin.
var controller = grpc.ServiceDesc{
	ServiceName: "plugin.GRPCController",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Shutdown",
		Handler: func(server any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			go server.(*grpc.Server).GracefulStop() // it waits for this very call
			return &emptypb.Empty{}, decode(&emptypb.Empty{})
		},
	}},
}

// mutualTLS takes the host's certificate and makes the plugin's own, for this one start.
func mutualTLS(host string) (*tls.Config, []byte, error) {
	known := x509.NewCertPool()
	if !known.AppendCertsFromPEM([]byte(host)) {
		return nil, nil, errors.New("the host gave no certificate")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: known,
	}, certificate, nil
}

// adapter is one of a vendor that nobody can reach.
type adapter struct {
	pluginv1.UnimplementedAdapterServer
}

func (adapter) Metadata(context.Context, *pluginv1.MetadataRequest) (*pluginv1.MetadataResponse, error) {
	return &pluginv1.MetadataResponse{
		Vendor: "byhand", Title: "By hand", Version: "1.0.0", GrantTypes: []string{"authorization_code", "refresh_token"},
		AccessLifetime: durationpb.New(time.Hour), RotatesRefreshTokens: true,
		SettingsSchema: []byte(`{"type": "object", "additionalProperties": false}`),
	}, nil
}

func (adapter) Token(context.Context, *pluginv1.TokenRequest) (*pluginv1.TokenResponse, error) {
	return &pluginv1.TokenResponse{Result: &pluginv1.TokenResponse_Error{Error: &pluginv1.VendorError{
		Outcome: pluginv1.Outcome_OUTCOME_NOT_SENT, Code: "network", Detail: "the vendor is nowhere",
	}}}, nil
}
