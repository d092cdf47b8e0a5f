import { randomUUID } from "node:crypto";
import { registry } from "@sluice/schema/registry";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { front, type Front } from "../../registry/front.ts";
import { selfSigned, trusting } from "../../registry/tls.ts";
import { client, fresh, order, qtyAsText, server, withNote } from "./support.ts";

/** The client itself: calls, authentication, TLS. */
export function clientSuite(): void {
  describe.skipIf(!server)("the client", () => {
    test("registers, finds and reads", async () => {
      const subject = fresh();
      const one = await client().register(subject, order);
      expect(await client().register(subject, order)).toEqual(one);
      expect(await client().find(subject, order)).toEqual({ ...one, version: 1 });
      expect(await client().byId(one.id)).toEqual({ ...order, references: [] });
      expect(await client().version(subject, 1)).toMatchObject({ ...order, subject, version: 1, id: one.id });
      const two = await client().register(subject, withNote);
      expect(two.id).not.toBe(one.id);
      expect(await client().latest(subject)).toMatchObject({ ...withNote, version: 2, id: two.id });
      expect(await client().versions(subject)).toEqual([1, 2]);
      expect(await client().subjects()).toContain(subject);
    });

    test("names with every sort of character are subjects", async () => {
      const subject = `a b/ü:%?#-${randomUUID()}`;
      const { id } = await client().register(subject, order);
      expect(await client().latest(subject)).toMatchObject({ id, subject });
    });

    test("says what is not there", async () => {
      await expect(client().byId(2_000_000_000)).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(client().latest(fresh())).rejects.toMatchObject({ code: "NOT_FOUND" });
      const subject = fresh();
      await expect(client().find(subject, order)).rejects.toMatchObject({ code: "NOT_FOUND" });
      await client().register(subject, order);
      await expect(client().find(subject, withNote)).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(client().version(subject, 7)).rejects.toMatchObject({ code: "NOT_FOUND" });
      // This version of Apicurio has no GUIDs.
      await expect(client().byGuid(randomUUID())).rejects.toMatchObject({ code: "UNSUPPORTED" });
      await expect(client().register(fresh(), { schemaType: "AVRO", schema: "{" })).rejects.toMatchObject({
        code: "CONFIG",
      });
    });

    test("levels of compatibility, and 409 with the registry's words", async () => {
      const subject = fresh();
      await client().register(subject, order);
      for (const level of ["BACKWARD", "FORWARD", "FULL", "FULL_TRANSITIVE", "NONE", "BACKWARD_TRANSITIVE"] as const) {
        await client().setCompatibility(level, subject);
        expect(await client().compatibility(subject)).toBe(level);
      }
      expect(await client().compatibility(fresh())).toBe(await client().compatibility());
      expect(await client().check(subject, withNote)).toEqual({ compatible: true, messages: [] });
      const verdict = await client().check(subject, qtyAsText, "all");
      expect(verdict.compatible).toBe(false);
      expect(verdict.messages.join()).toContain("/fields/1/type");
      const refused: unknown = await client()
        .register(subject, qtyAsText)
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({
        code: "MISMATCH",
        issues: [{ message: expect.stringContaining("INT") as string }],
      });
      await client().setCompatibility("NONE", subject);
      await client().register(subject, qtyAsText);
    });

    test.each([
      [
        "AVRO",
        '{"type":"record","name":"N","namespace":"a","fields":[]}',
        (name: string) => `{"type":"record","name":"M","fields":[{"name":"n","type":"${name}"}]}`,
        "a.N",
      ],
      [
        "JSON",
        '{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}',
        (name: string) =>
          `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"n":{"$ref":"${name}"}}}`,
        "n.json",
      ],
      [
        "PROTOBUF",
        'syntax = "proto3"; message N { string x = 1; }',
        (name: string) => `syntax = "proto3"; import "${name}"; message M { N n = 1; }`,
        "n.proto",
      ],
    ] as const)("%s: references", async (schemaType, inner, outer, name) => {
      const [needed, subject] = [fresh(), fresh()];
      await client().register(needed, { schemaType, schema: inner });
      const references = [{ name, subject: needed, version: 1 }];
      const { id } = await client().register(subject, { schemaType, schema: outer(name), references });
      const found = await client().resolved({ id });
      expect(found.references.map((one) => one.name)).toEqual([name]);
      expect(found.references[0]?.schema.replaceAll(/\s+/g, " ")).toContain(inner.slice(0, 15));
      expect(await client().find(subject, { schemaType, schema: outer(name), references })).toMatchObject({
        id,
        version: 1,
      });
    });
  });

  describe.skipIf(!server)("authentication", () => {
    let protectedServer: Front;
    beforeAll(async () => {
      const authorization = `Basic ${Buffer.from("alice:correct horse").toString("base64")}`;
      protectedServer = await front(client().url, { authorization });
    });
    afterAll(() => protectedServer.close());

    test("lets the right one in, by option and by URL", async () => {
      const { url } = protectedServer;
      const auth = { username: "alice", password: "correct horse" };
      expect((await registry({ url, auth }).register(fresh(), order)).id).toBeGreaterThan(0);
      const inUrl = url.replace("//", "//alice:correct%20horse@");
      expect(await registry({ url: inUrl }).subjects()).not.toHaveLength(0);
    });

    test("keeps others out, without telling what they tried", async () => {
      const { url, requests } = protectedServer;
      const before = requests.length;
      const error: unknown = await registry({ url, auth: { token: "wrong-token" } })
        .subjects()
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "UNAUTHORIZED" });
      expect(String(error)).toContain("Unauthorized: Bearer ***");
      expect(requests.length - before).toBe(1);
    });
  });

  describe.skipIf(!server)("TLS", () => {
    test("is what the given fetch makes of it; a certificate that is not trusted is named", async () => {
      const certificate = await selfSigned();
      const secure = await front(client().url, { certificate });
      onTestFinished(() => secure.close());
      const trusted = registry({ url: secure.url, fetch: trusting(certificate.ca) });
      expect((await trusted.register(fresh(), order)).id).toBeGreaterThan(0);
      const other: unknown = await registry({ url: secure.url, retry: { attempts: 1 } })
        .subjects()
        .catch((error: unknown) => error);
      expect(other).toMatchObject({ code: "UNAVAILABLE" });
      expect(String(other)).toContain("DEPTH_ZERO_SELF_SIGNED_CERT");
    });
  });
}
