// A certified OpenID provider (npm: oidc-provider) with one client and one person, on loopback.
// Started by test_oidc_peer.py with the folder that holds node_modules; prints its address.
import { createRequire } from "node:module";
import { createServer } from "node:http";

const [folder, redirectUri, secret] = process.argv.slice(2);
const { Provider } = await import(createRequire(`${folder}/x.js`).resolve("oidc-provider"));

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "central", client_secret: secret, redirect_uris: [redirectUri] }],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    cookies: { keys: ["of this test only"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: ["shops"] }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
