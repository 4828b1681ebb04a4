// A real OpenID provider for tests (npm `oidc-provider`): it prints its issuer when it listens, and ends with its input.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const audience = process.argv[2];
const jwk = (kid, use, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  kid,
  use,
});

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [jwk("signs", "sig", "rsa", { modulusLength: 2048 })] },
  clients: [
    {
      client_id: "desk",
      client_secret: "of the desk, for a test",
      grant_types: ["authorization_code"],
      redirect_uris: ["https://desk.example.org/callback"],
      token_endpoint_auth_method: "client_secret_post",
    },
    {
      client_id: "robot",
      client_secret: "of the robot, for a test",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  claims: { openid: ["sub"], staff: ["preferred_username", "groups"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: ["staff"] }),
  }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: "api",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  cookies: { keys: ["for a test"] },
  pkce: { required: () => false },
  ttl: { IdToken: 600, Session: 600, Grant: 600, Interaction: 600 },
});

server.on("request", provider.callback());
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
console.log(issuer);
