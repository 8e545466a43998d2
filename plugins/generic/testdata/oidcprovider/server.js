// Runs oidc-provider, a certified authorization server, on the loopback until standard input ends. It prints its issuer
// on standard output once it listens.
//
//   node server.js [PATH]   with a PATH such as /tenant, the issuer has that path

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const path = process.argv[2] ?? '';
const resource = 'https://api.example.com';

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}${path}`;
  const provider = new Provider(issuer, {
    clients: [
      client('basic', 'client_secret_basic'),
      client('post', 'client_secret_post'),
      { ...client('public', 'none'), client_secret: undefined, grant_types: ['authorization_code', 'refresh_token'] },
    ],
    cookies: { keys: ['for tests only'] },
    scopes: ['openid', 'offline_access', 'sign', 'read'],
    pkce: { required: () => true },
    // The default rotates late in a confidential client's refresh token's life.
    rotateRefreshToken: true,
    issueRefreshToken: async (ctx, c, code) => c.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    // Revoking either token of a grant ends it.
    revokeGrantPolicy: () => true,
    ttl: {
      AccessToken: 3600, AuthorizationCode: 60, ClientCredentials: 600, Grant: 86400, Interaction: 3600, RefreshToken: 86400, Session: 86400,
    },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (ctx, indicator) => {
          if (indicator !== resource) throw new Error('unknown resource');
          return { scope: 'sign read', audience: resource, accessTokenFormat: 'opaque' };
        },
        useGrantedResource: async () => true,
      },
    },
  });
  const answer = provider.callback();
  server.on('request', (req, res) => {
    if (path && !req.url.startsWith(`${path}/`)) {
      res.writeHead(404).end();
      return;
    }
    req.originalUrl = req.url;
    req.url = req.url.slice(path.length);
    answer(req, res);
  });
  console.log(issuer);
});

// The characters in the ids and secrets are those that HTTP Basic has to encode (RFC 6749 §2.3.1).
function client(name, authentication) {
  return {
    client_id: `esignd ${name}`,
    client_secret: `s3cret:+%/${name}`,
    token_endpoint_auth_method: authentication,
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1:9/cb', `http://127.0.0.1:9/oauth/callback/${name}`],
  };
}

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
