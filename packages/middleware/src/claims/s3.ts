import { type Bytes, SluiceError } from "@sluice/core";
import { checkMethods, checkObject, shown } from "../options.ts";
import { type ClaimStore, isClaimName, isClaimPrefix, type StoredClaim } from "./store.ts";

interface CallOptions {
  readonly abortSignal?: AbortSignal;
}

/** What is used of an `S3` of `@aws-sdk/client-s3`, version 3. */
export interface S3Like {
  putObject(
    input: { Bucket: string; Key: string; Body: Uint8Array; ContentLength: number; ContentType: string },
    options: CallOptions,
  ): Promise<unknown>;
  getObject(
    input: { Bucket: string; Key: string; Range: string },
    options: CallOptions,
  ): Promise<{ readonly Body?: { transformToByteArray(): Promise<Uint8Array> } | undefined }>;
  deleteObject(input: { Bucket: string; Key: string }): Promise<unknown>;
  listObjectsV2(input: { Bucket: string; Prefix: string; ContinuationToken?: string }): Promise<{
    readonly Contents?:
      | readonly {
          readonly Key?: string | undefined;
          readonly LastModified?: Date | undefined;
          readonly Size?: number | undefined;
        }[]
      | undefined;
    readonly NextContinuationToken?: string | undefined;
  }>;
}

/** Options of {@link s3Claims}. */
export interface S3ClaimsOptions {
  /** `new S3({ … })`, with its own region, endpoint, credentials and retries. */
  readonly client: S3Like;
  readonly bucket: string;
  /** Before every key, such as `claims/`. References that lead elsewhere are refused. @default none */
  readonly prefix?: string;
}

/**
 * Bodies as objects of a bucket of S3, or of a server that speaks its protocol. The bucket must exist.
 *
 * Consumers need `s3:GetObject` and `s3:ListBucket`: without the second one S3 calls an object that is missing forbidden, and its
 * message waits for ever instead of becoming a dead letter.
 * @throws SluiceError `CONFIG`
 */
export function s3Claims(options: S3ClaimsOptions): ClaimStore {
  checkObject("s3Claims: its argument", options, "give { client, bucket }");
  const { client, bucket, prefix = "" } = options;
  if (typeof bucket !== "string" || !/^[a-z0-9][a-z0-9.-]+$/.test(bucket))
    throw new SluiceError("CONFIG", `s3Claims: the bucket is ${shown(bucket)}; give its name`);
  if (!isClaimPrefix(prefix)) {
    throw new SluiceError(
      "CONFIG",
      `s3Claims: the prefix is ${JSON.stringify(prefix)}; give letters, digits and "/", ending with "/"`,
    );
  }
  const methods = ["putObject", "getObject", "deleteObject", "listObjectsV2"];
  checkMethods("s3Claims: the client", client, methods, "give an S3 of @aws-sdk/client-s3");
  const place = (name: string) => ({ Bucket: bucket, Key: prefix + name });
  return {
    base: `s3://${bucket}/${prefix}`,
    async put(name, body, abortSignal) {
      const content = { Body: body, ContentLength: body.byteLength, ContentType: "application/octet-stream" };
      await client.putObject({ ...place(name), ...content }, { abortSignal });
    },
    async get(name, maxBytes, abortSignal) {
      try {
        const { Body } = await client.getObject({ ...place(name), Range: `bytes=0-${maxBytes}` }, { abortSignal });
        return await Body?.transformToByteArray();
      } catch (error) {
        return absent(error);
      }
    },
    async delete(name) {
      await client.deleteObject(place(name));
    },
    list: () => list(client, bucket, prefix),
  };
}

/**
 * What S3 says of a key under which no claim can be read, now or later: none, longer than a key can be, in an archive. n.b. Not by
 * the status: a bucket that is missing answers 404, too. Anything else is an outage, and stops a group.
 */
const absences: ReadonlySet<string> = new Set(["NoSuchKey", "KeyTooLongError", "InvalidObjectState"]);

function absent(error: unknown): Bytes | undefined {
  const name = error instanceof Error ? error.name : "";
  // n.b. The range of an empty object: there is nothing in it to begin with.
  if (name === "InvalidRange") return new Uint8Array();
  if (absences.has(name)) return undefined;
  throw error;
}

async function* list(client: S3Like, bucket: string, prefix: string): AsyncGenerator<StoredClaim> {
  let token: string | undefined;
  do {
    const page = await client.listObjectsV2({
      Bucket: bucket,
      Prefix: prefix,
      ...(token !== undefined && { ContinuationToken: token }),
    });
    for (const { Key = "", LastModified, Size = 0 } of page.Contents ?? []) {
      const name = Key.slice(prefix.length);
      if (LastModified && isClaimName(name)) yield { name, storedAt: LastModified.getTime(), bytes: Size };
    }
    token = page.NextContinuationToken;
  } while (token !== undefined);
}
