BEGIN TRANSACTION;
CREATE TABLE attempt (
	trial_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	lease_token INTEGER NOT NULL, 
	started DATETIME NOT NULL, 
	ended DATETIME, 
	reason TEXT NOT NULL, spent DOUBLE, naive DOUBLE, 
	CONSTRAINT pk_attempt PRIMARY KEY (trial_id, number), 
	CONSTRAINT fk_attempt_trial_id_trial FOREIGN KEY(trial_id) REFERENCES trial (id)
);
INSERT INTO "attempt" VALUES(1,1,1,'2026-11-28 16:09:31.722520','2026-11-28 16:09:32.045926','',1.0,1.0);
INSERT INTO "attempt" VALUES(2,1,1,'2026-11-28 16:09:32.062257','2026-11-28 16:09:32.305372','rejected by 12 of 16 samples: drop at least 0.375',4.94380727247017426329e-01,6.49450851095022541059e-01);
INSERT INTO "attempt" VALUES(3,1,1,'2026-11-28 16:09:32.312971','2026-11-28 16:09:32.397461','rejected by 6 of 16 samples: drop at least 0.25',2.33637095807370825939e-01,8.16020300261707465239e-01);
INSERT INTO "attempt" VALUES(4,1,1,'2026-11-28 16:09:32.407447','2026-11-28 16:09:32.680906','',9.64441500235161064402e-01,9.01700630406098824209e-01);
INSERT INTO "attempt" VALUES(5,1,1,'2026-11-28 16:09:32.690059','2026-11-28 16:09:32.778780','rejected by 6 of 16 samples: drop at least 0.1875',2.34125861872865492774e-01,0.858660831537149);
INSERT INTO "attempt" VALUES(7,1,1,'2026-11-28 16:09:34.339170','2026-11-28 16:09:34.645589','',7.02748515001634377341e-01,6.99089742669956493159e-01);
INSERT INTO "attempt" VALUES(8,1,1,'2026-11-28 16:09:34.653088','2026-11-28 16:09:34.970277','',7.48233986763354175231e-01,6.99911932382369372795e-01);
INSERT INTO "attempt" VALUES(9,1,1,'2026-11-28 16:09:35.140917','2026-11-28 16:09:35.396261','',7.46951360091482219338e-01,6.98678257903990740373e-01);
INSERT INTO "attempt" VALUES(10,1,1,'2026-11-28 16:09:35.404795','2026-11-28 16:09:35.550837','',4.81686002129257606618e-01,6.99192678846407789094e-01);
INSERT INTO "attempt" VALUES(11,1,1,'2026-11-28 16:09:35.797543','2026-11-28 16:09:35.952118','',4.8019165367901495145e-01,6.97796022088647771575e-01);
INSERT INTO "attempt" VALUES(13,1,1,'2026-11-28 16:09:36.619702','2026-11-28 16:09:36.637142','',0.0,9.01700630406098824209e-01);
INSERT INTO "attempt" VALUES(14,1,1,'2026-11-28 16:09:36.649884','2026-11-28 16:09:36.949787','',6.64101413322922717874e-01,6.19753764188816114177e-01);
INSERT INTO "attempt" VALUES(15,1,1,'2026-11-28 16:09:36.958305','2026-11-28 16:09:37.099026','',1.34592418285384041176e-01,3.68576236715774496754e-01);
CREATE TABLE context (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	digest TEXT NOT NULL, 
	description JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT uq_context_digest UNIQUE (digest)
);
INSERT INTO "context" VALUES(1,'f2034ad2e6bff4b3525a264cd18d7c08d73b0f429d2863d3cc961ec2cccc70da','{"runtime":"reduction/2","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc","config":"5f4e927cb3d948cffde1f515dbff6a439ce54bec870df4b33c93958bfb3355c8","processor":"1021566446c686caae7bf76fe31de344b322ee14396b784a6423d6bc21014d33","metric":{"name":"exact_match","settings":{}},"dtype":"torch.float32","attention":"sdpa","device":"cpu","torch":"2.13.0+cpu","transformers":"5.23.0","ranker":null}','2026-11-28 16:09:31.729497');
INSERT INTO "context" VALUES(2,'50c8b739853fdfe9687b61b5c2cb0fd7422e3aabe8532cae5e776cc743f30940','{"runtime":"reduction/2","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc","config":"5f4e927cb3d948cffde1f515dbff6a439ce54bec870df4b33c93958bfb3355c8","processor":"1021566446c686caae7bf76fe31de344b322ee14396b784a6423d6bc21014d33","metric":{"name":"exact_match","settings":{}},"dtype":"torch.float32","attention":"sdpa","device":"cpu","torch":"2.13.0+cpu","transformers":"5.23.0","ranker":{"name":"last","params":{}}}','2026-11-28 16:09:32.063466');
CREATE TABLE counts (
	id INTEGER NOT NULL, 
	kept TEXT NOT NULL, 
	CONSTRAINT pk_counts PRIMARY KEY (id), 
	CONSTRAINT uq_counts_kept UNIQUE (kept)
);
INSERT INTO "counts" VALUES(1,'64,64,64,64,64,64,64,64');
INSERT INTO "counts" VALUES(2,'64,64,31,31,31,31,31,31');
INSERT INTO "counts" VALUES(3,'64,64,47,47,47,47,47,47');
INSERT INTO "counts" VALUES(4,'64,64,55,55,55,55,55,55');
INSERT INTO "counts" VALUES(5,'64,64,51,51,51,51,51,51');
INSERT INTO "counts" VALUES(6,'64,64,64,64,43,23,11,6');
INSERT INTO "counts" VALUES(7,'64,64,64,63,39,22,14,10');
INSERT INTO "counts" VALUES(8,'64,64,47,47,43,29,24,24');
INSERT INTO "counts" VALUES(9,'64,64,40,38,37,35,33,32');
INSERT INTO "counts" VALUES(10,'64,64,64,64,64,6,5,5');
INSERT INTO "counts" VALUES(11,'64,64,37,37,34,22,19,19');
INSERT INTO "counts" VALUES(12,'64,64,3,3,3,2,2,2');
CREATE TABLE evaluation (
	context_id INTEGER NOT NULL, 
	counts_id INTEGER NOT NULL, 
	sample_id INTEGER NOT NULL, 
	score DOUBLE NOT NULL, 
	prediction TEXT, 
	CONSTRAINT pk_evaluation PRIMARY KEY (context_id, counts_id, sample_id), 
	CONSTRAINT fk_evaluation_context_id_context FOREIGN KEY(context_id) REFERENCES context (id), 
	CONSTRAINT fk_evaluation_counts_id_counts FOREIGN KEY(counts_id) REFERENCES counts (id), 
	CONSTRAINT fk_evaluation_sample_id_sample FOREIGN KEY(sample_id) REFERENCES sample (id)
)
 WITHOUT ROWID

;
INSERT INTO "evaluation" VALUES(1,1,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,5,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,7,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,9,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,10,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,12,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(1,1,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,2,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,2,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,3,12,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,7,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,9,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,10,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,12,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,4,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,10,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,5,12,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,5,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,7,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,6,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,5,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,7,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,7,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,8,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,2,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,9,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,2,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,5,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,7,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,10,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,2,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,12,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,13,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,11,16,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,1,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,2,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,3,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,4,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,5,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,6,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,7,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,8,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,9,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,10,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,11,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,12,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,13,0.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,14,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,15,1.0,NULL);
INSERT INTO "evaluation" VALUES(2,12,16,1.0,NULL);
CREATE TABLE sample (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	CONSTRAINT pk_sample PRIMARY KEY (id), 
	CONSTRAINT uq_sample_key UNIQUE ("key")
);
INSERT INTO "sample" VALUES(1,'6400245e22e581214fa0a275e4f63bc7a7511411f6b545e670dbd31bf68b2692');
INSERT INTO "sample" VALUES(2,'932ab6e8a02584c1044e0283905b630ce18e86350254bd16de8c9d29e2c51cca');
INSERT INTO "sample" VALUES(3,'bd41e8020deabf42982fd25a211e9c29e392d86b16bd6499fe9ea28a6a72b6b8');
INSERT INTO "sample" VALUES(4,'e8036e26e37cd2736a106df4751f7f02c5f9199e3fb384cbec4f4d56fc8a050c');
INSERT INTO "sample" VALUES(5,'0270b927c84986f381e8a2794833d9623f1d6e51b715d66035ef7750a5980fed');
INSERT INTO "sample" VALUES(6,'0942939a378c1581fa781614d9e72b3aa4950ccc7962464ebf59714c63436045');
INSERT INTO "sample" VALUES(7,'15e110d74286bc74e549f62f7081019c90dc0525c34b7befbea5d650d33934de');
INSERT INTO "sample" VALUES(8,'2449ea3dd83af249d077d46d04a589d8685a377b57ce2859408550c868918b08');
INSERT INTO "sample" VALUES(9,'5101de173366f01aa4f513a2f1b1181640900065dfb8cd5b9a757abc4594d07f');
INSERT INTO "sample" VALUES(10,'8a65e9457e471f19f9117dcc670ca4c84eb4e19171ada1f79ae3041e9df8f314');
INSERT INTO "sample" VALUES(11,'8ba82c33904b4ec94d341637506b01cb7beb340aabee803401f5a8a285637838');
INSERT INTO "sample" VALUES(12,'cf6427b2f17c831b61cf9364d7963d57557802180cb3169684803c47245c3282');
INSERT INTO "sample" VALUES(13,'3f596636a29e72fe40020752ba08b50591e721162e6b245f58567c904b275295');
INSERT INTO "sample" VALUES(14,'7e9021d824784ee677fbb5c6c7b7d784aa77f8bf358c8ae31952b753d17cf878');
INSERT INTO "sample" VALUES(15,'a5c654bf8bda541e0bb7b4eb283445b3195a420802001a3bdc52e973eb5d0755');
INSERT INTO "sample" VALUES(16,'eaea675a7e068fe8d4b9e2e4db841d60c80fe664eb157a16553d5e8aac0c2054');
CREATE TABLE schedsearch_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT schedsearch_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "schedsearch_version" VALUES('0003');
CREATE TABLE schedule (
	id INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	keep JSON NOT NULL, 
	ranker JSON NOT NULL, 
	CONSTRAINT pk_schedule PRIMARY KEY (id), 
	CONSTRAINT uq_schedule_digest UNIQUE (digest)
);
INSERT INTO "schedule" VALUES(1,'56a71cc6fd6b627bc54a9d6625c731229b89afaae8262ddab6d9137f3ac94317','[1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(2,'b5c5c3330ada98e59eeb6164ff1aed75631cecb619d82da398e010aee5d6d733','[1.0,1.0,0.484375,0.484375,0.484375,0.484375,0.484375,0.484375]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(3,'d6bb8827a1d62dc71e51f3f7d759fcd456f0281635a28710e593ee074756fea7','[1.0,1.0,0.734375,0.734375,0.734375,0.734375,0.734375,0.734375]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(4,'ad26a0a5396a1b4e91ad13363e665dc97f23eb7ed256104c6a5abfc9c997dd9b','[1.0,1.0,0.859375,0.859375,0.859375,0.859375,0.859375,0.859375]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(5,'6ed783ed54fab744d8b1b77d06f042e54450bff1161c07c86d6080dc3b9d0f56','[1.0,1.0,0.796875,0.796875,0.796875,0.796875,0.796875,0.796875]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(6,'d9f5863a4ddcc7be3dd52a7f76fa45231c3a18fe0f8c56a7c0574cf291f43def','[1.0,1.0,0.828125,0.828125,0.828125,0.828125,0.828125,0.828125]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(7,'83c77809599ed34d5eb0231aac729573078b13a8d5c8ee6c8343cc047da60a07','[1.0,1.0,1.0,1.0,0.671875,0.359375,0.171875,0.09375]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(8,'9dbe754a1bcd05a5c4661708cd2314b78a225933f2ecc6a125c4ddbf60544802','[1.0,1.0,1.0,0.984375,0.609375,0.34375,0.21875,0.15625]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(9,'bfae9b23d0203f723903cb169e5845d8685008dbaeffdf4c3c95e7a0a84e61ac','[1.0,1.0,0.734375,0.734375,0.671875,0.453125,0.375,0.375]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(10,'18e37d582bfa7eb1606fc2a11bc90c32c0a7371ab948c55acd80cbe0d01ab14e','[1.0,1.0,0.625,0.59375,0.578125,0.546875,0.515625,0.5]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(11,'846c8988083b1b1e40d6edbf696f0250550061f56445f203b7d3816c3d329c0b','[1.0,1.0,1.0,1.0,1.0,0.09375,0.078125,0.078125]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(12,'dd593082bccf3455addff2302eda79abcafcd262f20899062be79e13bc18271a','[1.0,1.0,1.0,1.0,0.75,0.1875,0.1875,0.171875]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(13,'64b72a7ffbf29797a23bd5a2b628a3cbb7b5397e5e099309f9697264df867ef0','[1.0,1.0,0.578125,0.578125,0.53125,0.34375,0.296875,0.296875]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(14,'3a4cb12b2b126a4e56d9668924a02cb9e41892786a0cd466fd0e687c881d1c26','[1.0,1.0,0.046875,0.046875,0.046875,0.03125,0.03125,0.03125]','{"name":"last","params":{}}');
INSERT INTO "schedule" VALUES(15,'6b0fc0b99330fa8105ddfd45163b943ed3c1d7726cfff7132fe09186e501c117','[1.0,1.0,0.46875,0.46875,0.46875,0.46875,0.46875,0.46875]','{"name":"last","params":{}}');
CREATE TABLE study (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	spec JSON NOT NULL, 
	version TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	lease_token INTEGER NOT NULL, 
	lease_holder JSON, 
	lease_since DATETIME, 
	CONSTRAINT uq_study_name UNIQUE (name)
);
INSERT INTO "study" VALUES(1,'layers','{"name":"layers","model":"demo","calibration":"ShapesVQA calibration","calibration_digest":"c3a3f163a3cd567986d427db59b5992f7542a64ccf369e3e67641c46507af3d6","metric":"exact_match","sampler":{"name":"g-search","params":{"acceptance":"drop","first":2,"floor":0,"guess":"","layers":8,"max_passes":1,"method":"gallop","n_max":64,"n_visions":"64","on_failure":"stop","screens":"4","slack":0,"tolerance":0.13}},"family":{"name":"layerwise","params":{}},"ranker":{"name":"last","params":{}},"revision":null,"weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc","dtype":"auto","quantization":null,"questions":1,"seed":0}','0.1.0','2026-11-28 16:09:31.697616',1,NULL,NULL);
INSERT INTO "study" VALUES(2,'budget','{"name":"budget","model":"demo","calibration":"ShapesVQA calibration","calibration_digest":"c3a3f163a3cd567986d427db59b5992f7542a64ccf369e3e67641c46507af3d6","metric":"exact_match","sampler":{"name":"bayes","params":{"budget":"flops: 0.7","shape":"{\"layers\": 8, \"hidden_size\": 128, \"heads\": 4, \"kv_heads\": 4, \"head_dim\": 32, \"mlp_size\": 320, \"vocab_size\": 72}","starts":"[{\"steepness\": 3.7606030930863934, \"midpoint\": 0.0, \"floor\": 0.0}, {\"steepness\": 4.820790738288172, \"midpoint\": 0.234375, \"floor\": 0.0625}]","tokens":"64+8*1 64+9*9 64+10*1 64+11*2 64+12*1 64+15*2","trials":8,"warm_start":"published"}},"family":{"name":"sigmoid","params":{"first":2}},"ranker":{"name":"last","params":{}},"revision":null,"weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc","dtype":"auto","quantization":null,"questions":1,"seed":0}','0.1.0','2026-11-28 16:09:34.313600',1,NULL,NULL);
INSERT INTO "study" VALUES(3,'milliseconds','{"name":"milliseconds","model":"demo","calibration":"ShapesVQA calibration","calibration_digest":"c3a3f163a3cd567986d427db59b5992f7542a64ccf369e3e67641c46507af3d6","metric":"exact_match","sampler":{"name":"frontier","params":{"latency":"{\n  \"format\": \"schedsearch.latency/1\",\n  \"latency\": {\n    \"layers\": 8,\n    \"tokens\": [\n      20,\n      100\n    ],\n    \"layer_ms\": [\n      0.5,\n      1.25\n    ],\n    \"outside_ms\": 2.0,\n    \"reduce_ms\": 0.1,\n    \"drop_ms\": 0.05,\n    \"conditions\": {\n      \"model\": \"demo\",\n      \"device\": \"cpu\",\n      \"dtype\": \"float32\",\n      \"attention\": \"sdpa\",\n      \"torch\": \"2\",\n      \"threads\": 1,\n      \"batch\": 1,\n      \"n_vision\": 64,\n      \"n_text\": 20,\n      \"ranker\": \"last\",\n      \"timed_layers\": 4,\n      \"repeats\": 3\n    },\n    \"error_ms\": null\n  }\n}\n","max_drop":0.1,"shape":"{\"layers\": 8, \"hidden_size\": 128, \"heads\": 4, \"kv_heads\": 4, \"head_dim\": 32, \"mlp_size\": 320, \"vocab_size\": 72}","starts":"[{\"steepness\": 1.0, \"midpoint\": 0.0, \"floor\": 1.0, \"budget\": 9.707812500000001}]","tokens":"64+8*1 64+9*9 64+10*1 64+11*2 64+12*1 64+15*2","trials":6,"warm_start":"study:layers"}},"family":{"name":"sigmoid","params":{"first":2}},"ranker":{"name":"last","params":{}},"revision":null,"weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc","dtype":"auto","quantization":null,"questions":1,"seed":0}','0.1.0','2026-11-28 16:09:36.586042',1,NULL,NULL);
CREATE TABLE study_context (
	study_id INTEGER NOT NULL, 
	context_id INTEGER NOT NULL, 
	CONSTRAINT pk_study_context PRIMARY KEY (study_id, context_id), 
	CONSTRAINT fk_study_context_study_id_study FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT fk_study_context_context_id_context FOREIGN KEY(context_id) REFERENCES context (id)
);
INSERT INTO "study_context" VALUES(1,1);
INSERT INTO "study_context" VALUES(1,2);
INSERT INTO "study_context" VALUES(2,1);
INSERT INTO "study_context" VALUES(2,2);
INSERT INTO "study_context" VALUES(3,1);
INSERT INTO "study_context" VALUES(3,2);
CREATE TABLE "trial" (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	schedule_id INTEGER NOT NULL, 
	target JSON, 
	params JSON NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	score DOUBLE, 
	standard_error DOUBLE, 
	n INTEGER, 
	flops_ratio DOUBLE, 
	kv_ratio DOUBLE, 
	"drop" DOUBLE, 
	drop_standard_error DOUBLE, 
	samples INTEGER, 
	read INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_trial PRIMARY KEY (id), 
	CONSTRAINT fk_trial_schedule_id_schedule FOREIGN KEY(schedule_id) REFERENCES schedule (id), 
	CONSTRAINT ck_trial_complete CHECK ((state = 'COMPLETE') = (score IS NOT NULL)), 
	CONSTRAINT fk_trial_study_id_study FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_trial_study_id_number UNIQUE (study_id, number), 
	CONSTRAINT ck_trial_state CHECK (state IN ('WAITING', 'RUNNING', 'COMPLETE', 'SCREENED', 'PRUNED', 'FAIL'))
);
INSERT INTO "trial" VALUES(1,1,0,1,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":0,"layer":2,"count":64}','COMPLETE',1,'','2026-11-28 16:09:31.716963',1.0,0.0,16,1.0,1.0,0.0,0.0,NULL,16);
INSERT INTO "trial" VALUES(2,1,1,2,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":1,"layer":2,"count":31}','PRUNED',1,'rejected by 12 of 16 samples: drop at least 0.375','2026-11-28 16:09:32.055420',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,12);
INSERT INTO "trial" VALUES(3,1,2,3,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":1,"layer":2,"count":47}','PRUNED',1,'rejected by 6 of 16 samples: drop at least 0.25','2026-11-28 16:09:32.309705',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "trial" VALUES(4,1,3,4,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":1,"layer":2,"count":55}','COMPLETE',1,'','2026-11-28 16:09:32.404427',0.9375,0.0625,16,9.01700630406098824209e-01,9.09014321819713533301e-01,0.0625,0.0625,NULL,16);
INSERT INTO "trial" VALUES(5,1,4,5,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":1,"layer":2,"count":51}','PRUNED',1,'rejected by 6 of 16 samples: drop at least 0.1875','2026-11-28 16:09:32.684296',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "trial" VALUES(6,1,5,6,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"pass":1,"layer":2,"count":53}','WAITING',0,'','2026-11-28 16:09:32.781516',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "trial" VALUES(7,2,0,7,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":3.7606030930863934,"midpoint":0.0,"floor":0.0}','COMPLETE',1,'','2026-11-28 16:09:34.330381',0.8125,1.00778221853731864143e-01,16,6.99089742669956493159e-01,7.08508845829823097339e-01,0.1875,1.00778221853731864143e-01,NULL,16);
INSERT INTO "trial" VALUES(8,2,1,8,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":4.820790738288172,"midpoint":0.234375,"floor":0.0625}','COMPLETE',1,'','2026-11-28 16:09:34.650177',0.8125,1.00778221853731864143e-01,16,6.99911932382369372795e-01,7.10193765796124698574e-01,0.1875,1.00778221853731864143e-01,NULL,16);
INSERT INTO "trial" VALUES(9,2,2,9,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":14.142135623730947,"midpoint":0.5,"floor":0.5}','COMPLETE',1,'','2026-11-28 16:09:35.137722',0.6875,1.19678388469542262839e-01,16,6.98678257903990740373e-01,7.13563605728727901045e-01,0.3125,1.19678388469542262839e-01,NULL,16);
INSERT INTO "trial" VALUES(10,2,3,10,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":3.1409890424576017,"midpoint":0.4889399856328964,"floor":0.7226877147331834}','COMPLETE',1,'','2026-11-28 16:09:35.401890',0.625,0.125,16,6.99192678846407789094e-01,7.1524852569502950228e-01,0.375,0.125,NULL,16);
INSERT INTO "trial" VALUES(11,2,4,11,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":189.64875335559927,"midpoint":0.5243425900131372,"floor":0.052109134103210414}','COMPLETE',1,'','2026-11-28 16:09:35.793062',0.8125,1.00778221853731864143e-01,16,6.97796022088647771575e-01,7.03454085930918293634e-01,0.1875,1.00778221853731864143e-01,NULL,16);
INSERT INTO "trial" VALUES(12,2,5,12,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":30.356359956137407,"midpoint":0.3531471923555545,"floor":0.055453416289934464}','WAITING',0,'','2026-11-28 16:09:36.075655',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "trial" VALUES(13,3,0,4,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":1.0,"midpoint":0.0,"floor":1.0,"budget":9.707812500000001}','COMPLETE',1,'','2026-11-28 16:09:36.610337',0.9375,0.0625,16,9.01700630406098824209e-01,9.09014321819713533301e-01,0.0625,0.0625,NULL,16);
INSERT INTO "trial" VALUES(14,3,1,13,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":14.142135623730947,"midpoint":0.5,"floor":0.5,"budget":8.3390625}','COMPLETE',1,'','2026-11-28 16:09:36.642510',0.625,0.125,16,6.19753764188816114177e-01,6.36057287278854244227e-01,0.375,0.125,NULL,16);
INSERT INTO "trial" VALUES(15,3,2,14,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":20.683553563716924,"midpoint":0.9769809786230326,"floor":0.22366326674818993,"budget":6.810478698369116}','COMPLETE',1,'','2026-11-28 16:09:36.955718',0.625,0.125,16,3.68576236715774496754e-01,3.7826453243470936627e-01,0.375,0.125,NULL,16);
INSERT INTO "trial" VALUES(16,3,3,15,'{"architecture":"LlavaForConditionalGeneration","layers":8,"hidden_size":128,"model":"demo","weights":"9ecf8099b438aa1b73fa01b2286ed0852978abbfa370820f6df82cef7ab18cbc"}','{"steepness":2.1277711307558618,"midpoint":0.0103567223995924,"floor":0.9443101398646832,"budget":8.35689380695112}','WAITING',0,'','2026-11-28 16:09:37.105419',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE INDEX ix_trial_schedule_id ON trial (schedule_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('study',3);
INSERT INTO "sqlite_sequence" VALUES('context',6);
COMMIT;
