// Command peer runs the published notifications engine the way Argo Rollouts wires it: an informer on Rollouts,
// informers on the ConfigMap and the Secret, a dynamic client that patches the annotation, and N workers. The benchmark
// puts it beside Herald, on the same API server and the same receiver.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/argoproj/notifications-engine/pkg/api"
	"github.com/argoproj/notifications-engine/pkg/controller"
	"github.com/argoproj/notifications-engine/pkg/services"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file with the connection")
	namespace := flag.String("namespace", "argo-rollouts", "namespace of the ConfigMap and the Secret")
	watched := flag.String("watch-namespace", "", "only Rollouts of this namespace")
	workers := flag.Int("workers", 10, "how many workers")
	qps := flag.Float64("qps", 40, "requests a second of the client; 0 is no limit")
	burst := flag.Int("burst", 80, "burst of the client")
	resync := flag.Duration("resync", 15*time.Minute, "how often everything is looked at again")
	flag.Parse()
	if err := run(*kubeconfig, *namespace, *watched, *workers, float32(*qps), *burst, *resync); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace, watched string, workers int, qps float32, burst int, resync time.Duration) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	if qps > 0 {
		config.QPS, config.Burst = qps, burst
	} else {
		config.QPS, config.Burst = -1, -1
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	rollouts := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	rolloutInformer := dynamicinformer.NewFilteredDynamicSharedInformerFactory(objects, resync, watched, nil).ForResource(rollouts).Informer()
	named := func(name string) informers.SharedInformerOption {
		return informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.FieldSelector = "metadata.name=" + name })
	}
	const configMap, secret = "argo-rollouts-notification-configmap", "argo-rollouts-notification-secret"
	configMaps := informers.NewSharedInformerFactoryWithOptions(client, resync, informers.WithNamespace(namespace), named(configMap)).Core().V1().ConfigMaps().Informer()
	secrets := informers.NewSharedInformerFactoryWithOptions(client, resync, informers.WithNamespace(namespace), named(secret)).Core().V1().Secrets().Informer()
	settings := api.Settings{
		ConfigMapName: configMap,
		SecretName:    secret,
		InitGetVars: func(_ *api.Config, _ *corev1.ConfigMap, secret *corev1.Secret) (api.GetVars, error) {
			return func(object map[string]any, _ services.Destination) map[string]any {
				return map[string]any{"rollout": object, "secrets": secret.Data, "time": times}
			}, nil
		},
	}
	factory := api.NewFactory(settings, namespace, secrets, configMaps)
	// Argo Rollouts keeps typed objects and turns each one into a map before it is looked at.
	asMap := controller.WithToUnstructured(func(object metav1.Object) (*unstructured.Unstructured, error) {
		data, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		out := &unstructured.Unstructured{}
		return out, json.Unmarshal(data, &out.Object)
	})
	notifications := controller.NewController(objects.Resource(rollouts), rolloutInformer, factory, asMap)
	for _, informer := range []cache.SharedIndexInformer{configMaps, secrets, rolloutInformer} {
		go informer.Run(stop)
	}
	if !cache.WaitForCacheSync(stop, configMaps.HasSynced, secrets.HasSynced, rolloutInformer.HasSynced) {
		return fmt.Errorf("the caches were not filled")
	}
	fmt.Println("synced")
	go notifications.Run(workers, stop)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	<-signals
	close(stop)
	return nil
}

var times = map[string]any{
	"Now": time.Now,
	"Parse": func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return at
	},
}
