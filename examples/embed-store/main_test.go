package main

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	defer http.DefaultClient.CloseIdleConnections()
	var out bytes.Buffer
	if err := run(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(out.Bytes(), []byte("alice@example.com is connected")); n != 1 {
		t.Errorf("she was asked %d times, want once:\n%s", n, out.String())
	}
	tokens := regexp.MustCompile(`token: generation (\d+); the API answers 200 OK`).FindAllStringSubmatch(out.String(), -1)
	if len(tokens) != 2 {
		t.Fatalf("it used %d tokens, want one in each life:\n%s", len(tokens), out.String())
	}
	first, _ := strconv.Atoi(tokens[0][1])
	second, _ := strconv.Atoi(tokens[1][1])
	if first != 1 || second < 2 {
		t.Errorf("generations %d and %d; the second life goes on where the first ended:\n%s", first, second, out.String())
	}
	if n := bytes.Count(out.Bytes(), []byte("hook: alice@example.com is active, generation ")); n < 3 {
		t.Errorf("the hook told of %d token sets:\n%s", n, out.String())
	}
}
