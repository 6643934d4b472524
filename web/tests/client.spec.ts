import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import openapiTS, { astToString } from "openapi-typescript";
import { expect, test } from "./test";

test("the typed client is what this host's document says", { tag: "@sample" }, async ({ host }) => {
  const ast = await openapiTS(new URL(`${host.url}/api/v1/openapi.json`), {
    defaultNonNullable: false,
  });
  const kept = readFileSync(resolve(import.meta.dirname, "../src/api/schema.d.ts"), "utf8");
  expect(kept.endsWith(astToString(ast)), "run: npm run api (see web/README.md)").toBe(true);
});
