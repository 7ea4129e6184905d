// Command go-api drives a vault through the official Go client, as the bao CLI, Terraform and cert-manager do.
// It reads VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT (under the names that the client knows) and prints a serial number.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/openbao/openbao/api/v2"
)

func main() {
	config := api.DefaultConfig()
	if config.Error != nil {
		log.Fatal(config.Error)
	}
	config.Address = os.Getenv("VAULT_ADDR")
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: os.Getenv("VAULT_CACERT")}); err != nil {
		log.Fatal(err)
	}
	client := must(api.NewClient(config))
	client.SetToken(os.Getenv("VAULT_TOKEN"))

	health := must(client.Sys().Health())
	check(health.Initialized && !health.Sealed, "the vault is open")
	check(must(client.Sys().SealStatus()).Version != "", "it has a version")

	mount := fmt.Sprintf("pki-go-%d", time.Now().UnixNano())
	done(client.Sys().Mount(mount, &api.MountInput{Type: "pki", Config: api.MountConfigInput{MaxLeaseTTL: "8760h"}}))
	check(must(client.Sys().ListMounts())[mount+"/"].Type == "pki", "the mount is listed")

	logical := client.Logical()
	root := must(logical.Write(mount+"/root/generate/internal", map[string]any{
		"common_name": "go example root", "ttl": "8700h", "key_type": "ec",
	}))
	check(root.Data["issuer_id"] != "", "the root has an issuer")
	must(logical.Write(mount+"/roles/web", map[string]any{
		"allowed_domains": []string{"example.com"}, "allow_subdomains": true, "key_type": "ec", "ttl": "24h",
	}))
	role := must(logical.Read(mount + "/roles/web"))
	bits, ok := role.Data["key_bits"].(json.Number)
	check(ok && bits.String() == "256", "key_bits is a number")
	keys := must(logical.List(mount + "/roles")).Data["keys"].([]any)
	check(slices.Contains(keys, any("web")), "the role is listed")

	issued := must(logical.Write(mount+"/issue/web", map[string]any{"common_name": "www.example.com"}))
	serial := issued.Data["serial_number"].(string)
	_, err := logical.Write(mount+"/issue/web", map[string]any{"common_name": "www.example.org"})
	var refused *api.ResponseError
	check(errors.As(err, &refused) && refused.StatusCode == 400, "a foreign name is refused")
	none := must(logical.Read(mount + "/roles/none"))
	check(none == nil, "what is not there is nothing")
	must(logical.Write(mount+"/revoke", map[string]any{"serial_number": serial}))

	done(client.Sys().PutPolicy("go-web", fmt.Sprintf(`path "%s/issue/web" { capabilities = ["update"] }`, mount)))
	child := must(client.Auth().Token().Create(&api.TokenCreateRequest{
		DisplayName: "terraform", Policies: []string{"go-web"}, TTL: "1200s", ExplicitMaxTTL: "1200s", Renewable: new(bool),
	}))
	check(child.Auth.LeaseDuration == 1200, "the token lives as long as was asked")
	worker := must(client.Clone())
	worker.SetToken(child.Auth.ClientToken)
	must(worker.Logical().Write(mount+"/issue/web", map[string]any{"common_name": "b.example.com"}))
	_, err = worker.Logical().Read(mount + "/roles/web")
	check(errors.As(err, &refused) && refused.StatusCode == 403, "the policy holds")
	done(worker.Auth().Token().RevokeSelf(""))

	client.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	wrapped := must(client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}}))
	client.SetWrappingLookupFunc(nil)
	unwrapped := must(logical.Unwrap(wrapped.WrapInfo.Token))
	check(unwrapped.Auth.ClientToken != "", "the wrapped token comes out")

	store := mount + "-kv"
	done(client.Sys().Mount(store, &api.MountInput{Type: "kv-v2"}))
	must(client.KVv2(store).Put(context.Background(), "app/db", map[string]any{"password": "example"}))
	secret := must(client.KVv2(store).Get(context.Background(), "app/db"))
	check(secret.Data["password"] == "example", "the secret is read back")
	done(client.Sys().Unmount(store))
	fmt.Println(serial)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func done(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func check(ok bool, what string) {
	if !ok {
		log.Fatalf("wrong: %s", what)
	}
}
