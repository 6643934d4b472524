// A small provider of identities on loopback, over TLS that a private authority vouches for:
// discovery, a page where one says who one is, codes bound to PKCE, signed tokens.
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";

const TLS = resolve(import.meta.dirname, "../../host/crates/model/tests/tls");
/** Vouches for the provider's certificate, and one that does not. */
export const AUTHORITY = resolve(TLS, "authority.pem");
export const STRANGER = resolve(TLS, "stranger.pem");
export const CLIENT = "selfheal-web";

type Code = { challenge: string; nonce: string; name: string };

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class Provider {
  private readonly codes = new Map<string, Code>();
  private readonly keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
  private readonly server: Server;

  private constructor() {
    const files = {
      cert: readFileSync(resolve(TLS, "server.pem")),
      key: readFileSync(resolve(TLS, "server.key.pem")),
    };
    this.server = createServer(files, (request, response) => this.answer(request, response));
  }

  static async start(): Promise<Provider> {
    const provider = new Provider();
    await new Promise<void>((ready) => provider.server.listen(0, "127.0.0.1", ready));
    return provider;
  }

  /** Another site than the host's, so that its cookies are those of somebody else. */
  get issuer(): string {
    return `https://localhost:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.issuer);
    const json = (status: number, body: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json(200, {
          issuer: this.issuer,
          authorization_endpoint: `${this.issuer}/authorize`,
          token_endpoint: `${this.issuer}/token`,
          jwks_uri: `${this.issuer}/keys`,
          response_types_supported: ["code"],
          subject_types_supported: ["public"],
          id_token_signing_alg_values_supported: ["RS256"],
        });
      case "/keys": {
        const key = this.keys.publicKey.export({ format: "jwk" });
        return json(200, { keys: [{ ...key, use: "sig", alg: "RS256", kid: "one" }] });
      }
      case "/authorize":
        response.writeHead(200, { "content-type": "text/html" });
        response.end(this.page(url.searchParams));
        return;
      case "/token": {
        let form = "";
        for await (const part of request) form += part;
        const token = this.redeem(new URLSearchParams(form));
        if (token === null) return json(400, { error: "invalid_grant" });
        return json(200, { access_token: "of no use", token_type: "Bearer", id_token: token });
      }
      default:
        return json(404, {});
    }
  }

  /** Where somebody chooses who to be. */
  private page(asked: URLSearchParams): string {
    const links = ["ann", "nobody"].map((name) => {
      const code = randomUUID();
      this.codes.set(code, {
        challenge: asked.get("code_challenge") ?? "",
        nonce: asked.get("nonce") ?? "",
        name,
      });
      const back = new URL(asked.get("redirect_uri") ?? "");
      back.search = String(new URLSearchParams({ code, state: asked.get("state") ?? "" }));
      return `<p><a href="${back.href.replaceAll("&", "&amp;")}">Continue as ${name}</a></p>`;
    });
    return `<!doctype html><title>Our own ID</title><link rel="icon" href="data:,">
      <h1>Our own ID</h1>${links.join("")}`;
  }

  /** A code is good once, and for whoever asked for it. */
  private redeem(form: URLSearchParams): string | null {
    const code = this.codes.get(form.get("code") ?? "");
    this.codes.delete(form.get("code") ?? "");
    const verifier = createHash("sha256").update(form.get("code_verifier") ?? "");
    if (code?.challenge !== verifier.digest("base64url")) return null;
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: this.issuer,
      aud: CLIENT,
      sub: `subject of ${code.name}`,
      preferred_username: code.name,
      nonce: code.nonce,
      iat: now,
      exp: now + 300,
    };
    const text = `${encode({ alg: "RS256", typ: "JWT", kid: "one" })}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(text), this.keys.privateKey);
    return `${text}.${signature.toString("base64url")}`;
  }
}
