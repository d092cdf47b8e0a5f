/** How many of the texts each of them accepts. */
const formats = {
  date: 0,
  time: 0,
  "date-time": 0,
  duration: 0,
  uri: 0,
  "uri-reference": 14,
  "uri-template": 15,
  email: 0,
  hostname: 0,
  ipv4: 0,
  ipv6: 0,
  regex: 16,
  uuid: 0,
  "json-pointer": 1,
};
const parts = ["a", "1", "-", ".", ":", "@", "%20", "a.", "1:", "0.0.", "::", "/a", "{a}", " ", "a@", "(a+)+"];
const texts = parts.map((part) => part.repeat(Math.ceil(30_000 / part.length)));

/** Texts on which a careless pattern of a format of JSON Schema would never end, and how many of them are valid. */
export const formatBombs: readonly (readonly [format: string, accepted: number, texts: readonly string[]])[] =
  Object.entries(formats).map(([format, accepted]) => [format, accepted, texts]);
