import { protos } from "@google-cloud/pubsub";

const { v1 } = protos.google.pubsub;

/** One call of the Pub/Sub API, as gRPC needs it. */
export interface Method<Request, Response> {
  readonly path: string;
  readonly encode: (request: Request) => Buffer;
  readonly decode: (bytes: Buffer) => Response;
  /** The resource that the call is about: the service routes by it, and errors name it. */
  readonly about: (request: Request) => string;
}

interface Encoder<Request> {
  encode(request: Request): { finish(): Uint8Array };
}

interface Decoder<Response> {
  decode(bytes: Uint8Array): Response;
}

function method<Request extends object, Response>(
  path: string,
  request: Encoder<Request>,
  response: Decoder<Response>,
  field: string & keyof Request,
): Method<Request, Response> {
  return {
    path: `/google.pubsub.v1.${path}`,
    encode(message) {
      const bytes = request.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => response.decode(bytes),
    about(message) {
      const value: unknown = message[field];
      return typeof value === "string" ? `${field}=${value}` : "";
    },
  };
}

type Proto = typeof protos.google.pubsub.v1;
type Empty = protos.google.protobuf.Empty;
const empty: Decoder<Empty> = protos.google.protobuf.Empty;

/** The calls that this driver makes. Their messages are those of the client library. */
export const methods: {
  readonly publish: Method<protos.google.pubsub.v1.IPublishRequest, InstanceType<Proto["PublishResponse"]>>;
  readonly createTopic: Method<protos.google.pubsub.v1.ITopic, InstanceType<Proto["Topic"]>>;
  readonly getTopic: Method<protos.google.pubsub.v1.IGetTopicRequest, InstanceType<Proto["Topic"]>>;
  readonly listTopicSubscriptions: Method<
    protos.google.pubsub.v1.IListTopicSubscriptionsRequest,
    InstanceType<Proto["ListTopicSubscriptionsResponse"]>
  >;
  readonly createSubscription: Method<protos.google.pubsub.v1.ISubscription, InstanceType<Proto["Subscription"]>>;
  readonly getSubscription: Method<
    protos.google.pubsub.v1.IGetSubscriptionRequest,
    InstanceType<Proto["Subscription"]>
  >;
  readonly updateSubscription: Method<
    protos.google.pubsub.v1.IUpdateSubscriptionRequest,
    InstanceType<Proto["Subscription"]>
  >;
  readonly listSubscriptions: Method<
    protos.google.pubsub.v1.IListSubscriptionsRequest,
    InstanceType<Proto["ListSubscriptionsResponse"]>
  >;
  readonly deleteSubscription: Method<protos.google.pubsub.v1.IDeleteSubscriptionRequest, Empty>;
  readonly pull: Method<protos.google.pubsub.v1.IPullRequest, InstanceType<Proto["PullResponse"]>>;
  readonly acknowledge: Method<protos.google.pubsub.v1.IAcknowledgeRequest, Empty>;
  readonly modifyAckDeadline: Method<protos.google.pubsub.v1.IModifyAckDeadlineRequest, Empty>;
  readonly seek: Method<protos.google.pubsub.v1.ISeekRequest, InstanceType<Proto["SeekResponse"]>>;
  readonly streamingPull: Method<
    protos.google.pubsub.v1.IStreamingPullRequest,
    InstanceType<Proto["StreamingPullResponse"]>
  >;
} = {
  publish: method("Publisher/Publish", v1.PublishRequest, v1.PublishResponse, "topic"),
  createTopic: method("Publisher/CreateTopic", v1.Topic, v1.Topic, "name"),
  getTopic: method("Publisher/GetTopic", v1.GetTopicRequest, v1.Topic, "topic"),
  listTopicSubscriptions: method(
    "Publisher/ListTopicSubscriptions",
    v1.ListTopicSubscriptionsRequest,
    v1.ListTopicSubscriptionsResponse,
    "topic",
  ),
  createSubscription: method("Subscriber/CreateSubscription", v1.Subscription, v1.Subscription, "name"),
  getSubscription: method("Subscriber/GetSubscription", v1.GetSubscriptionRequest, v1.Subscription, "subscription"),
  updateSubscription: method(
    "Subscriber/UpdateSubscription",
    v1.UpdateSubscriptionRequest,
    v1.Subscription,
    "subscription",
  ),
  listSubscriptions: method(
    "Subscriber/ListSubscriptions",
    v1.ListSubscriptionsRequest,
    v1.ListSubscriptionsResponse,
    "project",
  ),
  deleteSubscription: method("Subscriber/DeleteSubscription", v1.DeleteSubscriptionRequest, empty, "subscription"),
  pull: method("Subscriber/Pull", v1.PullRequest, v1.PullResponse, "subscription"),
  acknowledge: method("Subscriber/Acknowledge", v1.AcknowledgeRequest, empty, "subscription"),
  modifyAckDeadline: method("Subscriber/ModifyAckDeadline", v1.ModifyAckDeadlineRequest, empty, "subscription"),
  seek: method("Subscriber/Seek", v1.SeekRequest, v1.SeekResponse, "subscription"),
  streamingPull: method("Subscriber/StreamingPull", v1.StreamingPullRequest, v1.StreamingPullResponse, "subscription"),
};
